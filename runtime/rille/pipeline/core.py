"""The loop.

Frames of a real-time source come through a slot of depth one, filled by a capture thread; frames of
a recording without a rate are read one by one, when the last is done.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from rille.budget import Budget
from rille.bundle import Bundle
from rille.errors import ConfigError, FrameDecodeError
from rille.events import EventLog
from rille.network import Network
from rille.pipeline.course import Agenda, Course
from rille.pipeline.ends import Ends
from rille.pipeline.follow import Follow
from rille.pipeline.intake import POLL_S, Intake
from rille.pipeline.moments import Moments
from rille.pipeline.outcome import digests, left_out, reached
from rille.pipeline.stages import Runner, Stage, Work
from rille.pipeline.tasks import check_tasks
from rille.plan import Plan, default_threads, plan_for
from rille.quality import QualityCheck
from rille.result import Classification, Result, Segmentation, State, Tracked
from rille.stats import PipelineStats
from rille.watch import GoldenWatch

if TYPE_CHECKING:
    from rille.frame import Frame
    from rille.sources import Source

__all__ = ["Pipeline", "default_threads"]

_UNREACHABLE = 50
"""Frames in a row for which nothing fits, after which an event says so."""


class Pipeline:
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
        events: EventLog | None = None,
        strain: Callable[[], str | None] | None = None,
    ) -> None:
        self.budget = budget or Budget()
        self.stats = PipelineStats(self.budget.frame_ms)
        self.events = events or EventLog()
        self._ends = Ends(self.stats, self.events, self.budget.frame_ms)
        self._stop = threading.Event()
        self._strain = strain
        given = {"classify": classify, "segment": segment, "lighter": lighter}
        check_tasks(given)
        plan = plan_for(given, backend=backend, threads=threads, parallel=parallel)
        self._stages = {
            name: Stage.of(name, network, self.budget.quantile, classify is None or segment is None)
            for name, network in plan.load(given, backend).items()
        }
        self.plan: Plan = plan
        self._runner = Runner(plan.parallel, self.budget.margin_ms)
        for stage in self._stages.values():
            # Golden images also take the first, slow inference out of the stream.
            stage.network.self_test()
        self.watch = GoldenWatch(self.networks, check_every)
        self._swaps: dict[str, Network] = {}
        self._swap_lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        """Forget what was seen of another source: it tells nothing of the next."""
        self._quality = QualityCheck()
        self._course = Course(self._stages, self.budget.keep_up, self._strain)
        self._follow = Follow() if self.budget.track and "segment" in self._stages else None
        self._idle = 0

    @property
    def parallel(self) -> bool:
        """Whether both networks run at the same time."""
        return self._runner.parallel

    @property
    def networks(self) -> dict[str, Network]:
        """Stage name -> the network that runs there."""
        return {name: stage.network for name, stage in self._stages.items()}

    def run(self, frame: Frame) -> Result:
        """Work on one frame, the same way as in a stream, and account for it."""
        self.stats.account.capture()
        return self._ends.count(self._work(frame, Moments()))

    def replay(self, frame: Frame, readings_ns: Mapping[str, int]) -> Result:
        """Work on a frame with the inputs of a recorded decision in place of this machine's clock.

        Args:
            frame: the frame, with its recorded capture time.
            readings_ns: `Result.readings_ns` of the recorded result.

        Raises:
            CheckFailedError: this pipeline decides otherwise than the recorded one.
        """
        self.stats.account.capture()
        return self._ends.count(self._work(frame, Moments(readings_ns)))

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
        self._stop.clear()
        self._begin()
        results = self._live(source) if source.realtime else self._on_demand(source)
        for result in results:
            if losses or result.published:
                yield result

    def stop(self) -> None:
        """End the running stream after the frame in hand; may be called from a signal handler."""
        self._stop.set()

    def swap(self, stage: str, network: Network) -> None:
        """Let another network take a stage over, between two frames; from any thread.

        Args:
            stage: "classify", "segment" or "lighter".
            network: loaded and tested; the pipeline closes the one it replaces.

        Raises:
            ConfigError: there is no such stage, or the network does another task.
        """
        if stage not in self._stages:
            raise ConfigError(f"there is no stage {stage!r} (there are: {', '.join(self._stages)})")
        check_tasks({**self.networks, stage: network})
        with self._swap_lock:
            unused = self._swaps.pop(stage, None)
            self._swaps[stage] = network
        if unused is not None:
            unused.close()

    def close(self) -> None:
        """Free the networks."""
        self.stop()
        self._runner.close()
        with self._swap_lock:
            pending, self._swaps = list(self._swaps.values()), {}
        for network in (*self.networks.values(), *pending):
            network.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _on_demand(self, source: Source) -> Iterator[Result]:
        """Read a frame, work on it, read the next: nothing is ever dropped."""
        while not self._stop.is_set():
            try:
                frame = source.read(POLL_S)
            except FrameDecodeError as wrong:
                self.stats.account.capture()
                yield self._ends.count(self._ends.undecoded(wrong))
                continue
            if frame is None:
                if source.ended:
                    return
                continue
            self.stats.account.capture()
            yield self._ends.count(self._guarded(frame))
            self._check_networks(busy=False)

    def _live(self, source: Source) -> Iterator[Result]:
        """Take the newest frame from the capture thread's slot; older ones are dropped."""
        intake = Intake(source, self._ends)
        intake.start()
        try:
            while True:
                # Asked before the slot is looked into: what came last is then in it.
                last = intake.done.is_set()
                frame = intake.slot.take(0.0 if last else POLL_S)
                result = None if frame is None else self._ends.count(self._guarded(frame))
                # What was lost before this frame comes before it, where it is known by now.
                while intake.lost and (result is None or intake.lost[0].index < result.index):
                    self._course.lost += 1
                    yield self._ends.count(intake.lost.popleft())
                if result is not None:
                    yield result
                    self._between(result, intake)
                if self._stop.is_set() or (frame is None and last):
                    break
        finally:
            leftover = intake.finish()
            if leftover is not None:
                intake.lost.append(self._ends.dropped(leftover, "shutdown"))
            rest = sorted(intake.lost, key=lambda result: result.index)
            intake.lost = deque()
            for result in rest:
                self._ends.count(result)
        yield from rest
        if intake.error is not None:
            raise intake.error

    def _between(self, result: Result, intake: Intake) -> None:
        """Use the time until the next frame: check a network, measure one that is shed."""
        self._check_networks(busy=intake.slot.filled)
        if result.frame is not None:
            self._course.spend(result.frame, busy=intake.slot.filled)

    def _check_networks(self, busy: bool) -> None:
        known = len(self.watch.rebuilds)
        self.watch.look(busy)
        for rebuild in self.watch.rebuilds[known:]:
            self.events.emit(
                "NETWORK_REBUILT",
                f"{rebuild.stage} was built anew after {rebuild.after} frames: {rebuild.reason}",
                stage=rebuild.stage,
                after=rebuild.after,
                suspect=rebuild.suspect,
            )

    def _guarded(self, frame: Frame) -> Result:
        """Work on a frame; an interrupt in the middle still leaves it accounted for."""
        try:
            return self._work(frame, Moments())
        except BaseException:
            self._ends.count(self._ends.dropped(frame, "shutdown"))
            raise

    def _work(self, frame: Frame, moments: Moments) -> Result:
        """Run the stages that fit."""
        self._apply_swaps()
        deadline_ns = frame.captured_ns + round(self.budget.frame_ms * 1e6)
        begin_ns = moments.now("begin")
        if begin_ns >= deadline_ns:
            return self._ends.dropped(frame, "expired", moments.taken)
        agenda = self._course.agenda(begin_ns, moments)
        work = self._runner.run(agenda.wanted, frame.pixels, deadline_ns, moments, self._quality)
        self.watch.frame()
        tracked = None
        if self._follow is not None:
            tracked = self._follow(frame, work, deadline_ns, moments)
        return self._result(frame, agenda, work, tracked, moments)

    def _apply_swaps(self) -> None:
        """Put networks that wait in `swap` in their places."""
        if not self._swaps:
            return
        with self._swap_lock:
            swaps, self._swaps = self._swaps, {}
        for name, network in swaps.items():
            before, self._stages[name].network = self._stages[name].network, network
            before.close()
        self.watch = self.watch.after_swap(self.networks)

    def _result(
        self, frame: Frame, agenda: Agenda, work: Work, tracked: Tracked | None, moments: Moments
    ) -> Result:
        """Put together what is published, and see whether the budget can be met at all."""
        shed = left_out(self._stages, work)
        self._count_idle(frame, work, agenda.skipped)
        published_ns = moments.now("publish")
        late = published_ns > frame.captured_ns + round(self.budget.frame_ms * 1e6)
        errors = [done.error for done in work.done if done.error is not None]
        return Result(
            frame=frame,
            index=frame.index,
            state=State.FAILED if errors else State.LATE if late else State.OK,
            captured_ns=frame.captured_ns,
            published_ns=published_ns,
            deadline_ms=self.budget.frame_ms,
            level=reached(agenda, work, shed),
            classification=work.answer(Classification),
            segmentation=work.answer(Segmentation),
            tracked=tracked,
            shed=shed,
            reason="; ".join(work.shed.values()) or agenda.reason,
            timings_ms=work.timings_ms(),
            error=errors[0] if errors else None,
            bundles=digests(self._stages, work),
            quality=work.quality,
            readings_ns=moments.taken,
        )

    def _count_idle(self, frame: Frame, work: Work, skipped: bool) -> None:
        """Tell, once, when nothing fits the budget for many frames in a row."""
        self._idle = 0 if work.done or skipped else self._idle + 1
        if self._idle == _UNREACHABLE:
            least = min(stage.cost.predicted_ms for stage in self._stages.values())
            self.events.emit(
                "BUDGET_UNREACHABLE",
                f"nothing fits {self.budget.frame_ms:g} ms for {_UNREACHABLE} frames: the cheapest "
                f"network takes {least:.1f} ms; allow more (budget.frame_ms) or use a smaller one",
                frame=frame.index,
                budget_ms=self.budget.frame_ms,
                least_ms=round(least, 3),
            )
