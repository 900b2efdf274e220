"""The loop.

Frames of a real-time source come through a slot of depth one, filled by a capture thread; frames of
a recording without a rate are read one by one, when the last is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from rille.budget import Budget
from rille.bundle import Bundle
from rille.closing import Closing
from rille.defences import Defences
from rille.events import EventLog
from rille.network import Network
from rille.pipeline.flow import open_flow
from rille.pipeline.intake import POLL_S
from rille.pipeline.moments import Moments
from rille.pipeline.tasks import check_tasks
from rille.pipeline.worker import Worker
from rille.plan import Plan, plan_for
from rille.result import Result
from rille.stats import PipelineStats
from rille.watch import GoldenWatch

if TYPE_CHECKING:
    from rille.frame import Frame
    from rille.sources import Source


class Pipeline(Closing):
    """Runs one or two networks over frames within a latency budget.

    Use it as a context manager, or call `close`. One stream at a time; but for `stop` and `swap`
    not thread-safe.

    Args:
        classify: a classification or multilabel bundle (or a loaded network), or None.
        segment: a segmentation bundle (or a loaded network), or None.
        lighter: a cheaper segmentation bundle (or network) with the same labels, for frames whose
            deadline has no room for `segment`; or None.
        budget: the time each frame has.
        backend: name of the inference engine.
        threads: threads for one inference; None for what was measured to be fastest here, see
            `rille.plan`.
        parallel: whether both networks run at the same time; None likewise.
        check_every: frames between two golden images in flight; 0 for none. See
            `rille.watch.GoldenWatch`.
        defences: what else is done against flipped bits; None for the usual.
        events: where to tell what happens; None for a log of its own.
        strain: called for each frame; returns why the board asks for less work, or None.

    Raises:
        ConfigError: neither bundle is given, or one does another task.
        BundleError: a network is not what its manifest states.
        BackendError: the engine cannot be used.
        CheckFailedError: a bundle's golden image comes out different on this machine.
    """

    def __init__(
        self,
        *,
        classify: Bundle | Network | None = None,
        segment: Bundle | Network | None = None,
        lighter: Bundle | Network | None = None,
        budget: Budget | None = None,
        backend: str = "",
        threads: int | None = None,
        parallel: bool | None = None,
        check_every: int = 250,
        defences: Defences | None = None,
        events: EventLog | None = None,
        strain: Callable[[], str | None] | None = None,
    ) -> None:
        self.budget = budget or Budget()
        self.events = events or EventLog()
        given = {"classify": classify, "segment": segment, "lighter": lighter}
        check_tasks(given)
        self.plan: Plan = plan_for(given, backend=backend, threads=threads, parallel=parallel)
        networks = self.plan.load(given, backend)
        for network in networks.values():
            # Golden images also take the first, slow inference out of the stream.
            network.self_test()
        self.worker = Worker(
            networks,
            self.budget,
            parallel=self.plan.parallel,
            check_every=check_every,
            defences=defences or Defences(),
            events=self.events,
            strain=strain,
        )
        # No event: setting one takes a lock, which a signal handler's own thread may hold.
        self._stopping = False

    @property
    def stats(self) -> PipelineStats:
        """The account and the latencies since the pipeline was made."""
        return self.worker.stats

    @property
    def watch(self) -> GoldenWatch:
        """Golden images in flight."""
        return self.worker.upkeep.watch

    @property
    def networks(self) -> dict[str, Network]:
        """Stage name -> the network that runs there."""
        return self.worker.networks

    def run(self, frame: Frame) -> Result:
        """Work on one frame, the same way as in a stream, and account for it."""
        self.stats.account.capture()
        result = self.worker.ends.count(self.worker.work(frame, Moments()))
        self.worker.course.look_again()
        return result

    def replay(self, frame: Frame, readings_ns: Mapping[str, int]) -> Result:
        """Work on a frame with the inputs of a recorded decision in place of this machine's clock.

        Args:
            frame: the frame, with its recorded capture time.
            readings_ns: `Result.readings_ns` of the recorded result.

        Raises:
            CheckFailedError: this pipeline decides otherwise than the recorded one.
        """
        self.stats.account.capture()
        return self.worker.ends.count(self.worker.work(frame, Moments(readings_ns)))

    def stream(self, source: Source, *, losses: bool = False) -> Iterator[Result]:
        """Work on the frames of a source until it ends or `stop` is called.

        Args:
            source: an open source.
            losses: also yield the frames that were dropped or failed; every captured frame is
                then yielded exactly once.

        Yields:
            Results that were published (state ok or late), and with `losses` the others.

        Raises:
            SourceError: the source failed as a whole; frames so far are accounted for.
            CheckFailedError: a network no longer gives its golden answers, and building it anew
                did not help.
        """
        self._stopping = False
        flow = open_flow(source, self.worker)
        try:
            while not (self._stopping or flow.finished):
                for result in flow.turn(POLL_S):
                    if losses or result.published:
                        yield result
        finally:
            rest = flow.finish()
        if losses:
            yield from rest
        if flow.error is not None:
            raise flow.error

    def stop(self) -> None:
        """End the running stream after the frame in hand, or within 0.1 s where there is none.

        May be called from a signal handler.
        """
        self._stopping = True

    def swap(self, stage: str, network: Network) -> None:
        """Let another network take a stage over, between two frames; from any thread.

        Args:
            stage: "classify", "segment" or "lighter".
            network: loaded and tested; the pipeline closes the one it replaces.

        Raises:
            ConfigError: there is no such stage, or the network does another task.
        """
        self.worker.swap(stage, network)

    def close(self) -> None:
        """Free the networks."""
        self.stop()
        self.worker.close()
