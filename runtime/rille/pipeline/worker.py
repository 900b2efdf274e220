"""Working on single frames: what fits is done, what was done is told, networks stay trustworthy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from rille.budget import Budget
from rille.defences import Defences
from rille.errors import ConfigError
from rille.events import EventLog
from rille.network import Network
from rille.pipeline.course import Agenda, Course
from rille.pipeline.ends import Ends
from rille.pipeline.follow import Follow
from rille.pipeline.moments import Moments
from rille.pipeline.outcome import digests, left_out, reached
from rille.pipeline.stages import Runner, Stage, Work
from rille.pipeline.tasks import check_tasks
from rille.pipeline.unfamiliar import UnfamiliarWatch
from rille.pipeline.upkeep import Upkeep
from rille.postprocess.vote import LabelVote
from rille.quality import QualityCheck
from rille.result import Classification, Result, Segmentation, State, Tracked
from rille.stats import PipelineStats

if TYPE_CHECKING:
    from rille.frame import Frame
    from rille.preprocess import Views

_UNREACHABLE = 50
"""Frames in a row for which nothing fits, after which an event says so."""


class Worker:
    """The networks of a pipeline, and what they do with one frame after the other.

    Args:
        networks: stage -> network, tested.
        budget: the time each frame has.
        parallel: whether two networks run at the same time.
        check_every: frames between two golden images in flight; 0 for none.
        defences: what else is done against flipped bits.
        events: where to tell what happens.
        strain: returns why the board asks for less work, or None.

    Attributes:
        stats: the account and the latencies.
        ends: results of frames that are not worked on.
        upkeep: what keeps the networks as they were verified.
        course: what is to be done on the next frame.
    """

    def __init__(
        self,
        networks: Mapping[str, Network],
        budget: Budget,
        *,
        parallel: bool,
        check_every: int,
        defences: Defences,
        events: EventLog,
        strain: Callable[[], str | None] | None,
    ) -> None:
        self.stages = {
            name: Stage.of(
                name, network, budget.quantile, name == "classify" or "classify" not in networks
            )
            for name, network in networks.items()
        }
        self.stats = PipelineStats(budget.frame_ms)
        self.ends = Ends(self.stats, events, budget.frame_ms)
        self.upkeep = Upkeep(networks, check_every, defences, events, self.swap)
        self._defences = defences
        self._budget, self._events, self._strain = budget, events, strain
        self._runner = Runner(parallel, budget.margin_ms)
        self._swaps: dict[str, Network] = {}
        self._swap_lock = threading.Lock()
        self.begin()

    def begin(self) -> None:
        """Begin with another source: what was seen of the last tells nothing of it."""
        takes = (network.variant.input.shape[3] for network in self.networks.values())
        self._quality = QualityCheck(channels=max(takes, default=3))
        self._unfamiliar = UnfamiliarWatch(self._events)
        for stage in self.stages.values():
            stage.begin(self._events)
        self.course = Course(self.stages, self._budget.keep_up, self._strain)
        self._follow = Follow() if self._budget.track and "segment" in self.stages else None
        votes = self._defences
        self._vote = LabelVote(votes.vote_needs, votes.vote_of) if votes.vote_of else None
        self._idle = 0

    @property
    def networks(self) -> dict[str, Network]:
        """Stage name -> the network that runs there."""
        return {name: stage.network for name, stage in self.stages.items()}

    def swap(self, name: str, network: Network) -> None:
        """Keep a network for the moment between two frames; see `Pipeline.swap`."""
        if name not in self.stages:
            raise ConfigError(f"there is no stage {name!r} (there are: {', '.join(self.stages)})")
        check_tasks({**self.networks, name: network})
        with self._swap_lock:
            unused = self._swaps.pop(name, None)
            self._swaps[name] = network
        if unused is not None:
            unused.close()

    def close(self) -> None:
        """Free the networks, also those that wait to be swapped in."""
        self._runner.close()
        self.upkeep.close()
        with self._swap_lock:
            pending, self._swaps = list(self._swaps.values()), {}
        for network in (*self.networks.values(), *pending):
            network.close()

    def guarded(self, frame: Frame) -> Result:
        """Work on a frame and count it; an interrupt in the middle still leaves it counted."""
        try:
            result = self.work(frame, Moments())
        except BaseException:
            self.ends.count(self.ends.dropped(frame, "shutdown"))
            raise
        return self.ends.count(result)

    def between(self, result: Result, busy: bool) -> None:
        """Use the time until a camera's next frame: check a network, measure one that is shed.

        Args:
            result: the last one.
            busy: whether the next frame waits already.

        Raises:
            CheckFailedError: see `check_networks`.
        """
        self.check_networks(busy)
        if result.frame is not None:
            self.course.spend(result.frame, busy)

    def check_networks(self, busy: bool) -> None:
        """Do what is due so that the networks stay what was verified; see `Upkeep.look`.

        Raises:
            CheckFailedError: a network no longer gives its golden answers, even built anew.
        """
        self.upkeep.look(busy)

    def work(self, frame: Frame, moments: Moments) -> Result:
        """Run the stages that fit; the result is not counted yet."""
        self._apply_swaps()
        deadline_ns = frame.captured_ns + round(self._budget.frame_ms * 1e6)
        begin_ns = moments.now("begin")
        if begin_ns >= deadline_ns:
            return self.ends.dropped(frame, "expired", moments.taken)
        agenda = self.course.agenda(begin_ns, moments)
        work = self._runner.run(agenda.wanted, frame, deadline_ns, moments, self._look)
        self.upkeep.frame()
        tracked = None
        if self._follow is not None:
            tracked = self._follow(frame, work, deadline_ns, moments)
        return self._result(frame, agenda, work, tracked, moments)

    def _look(self, frame: Frame, views: Views) -> tuple[str, ...]:
        return self._quality(views, frame.source_ns)

    def _apply_swaps(self) -> None:
        """Put networks that wait in `swap` in their places."""
        if not self._swaps:
            return
        with self._swap_lock:
            swaps, self._swaps = self._swaps, {}
        for name, network in swaps.items():
            before, self.stages[name].network = self.stages[name].network, network
            before.close()
            self.stages[name].begin(self._events)
        self.upkeep.after_swap(self.networks)

    def _result(
        self, frame: Frame, agenda: Agenda, work: Work, tracked: Tracked | None, moments: Moments
    ) -> Result:
        """Put together what is published, and see whether the budget can be met at all."""
        shed = left_out(self.stages, work)
        self._count_idle(frame, work, agenda.skipped)
        published_ns = moments.now("publish")
        late = published_ns > frame.captured_ns + round(self._budget.frame_ms * 1e6)
        errors = [done.error for done in work.done if done.error is not None]
        self._tell(frame, work)
        answer, flags = self._voted(work.answer(Classification))
        self._unfamiliar(frame.index, answer)
        return Result(
            frame=frame,
            index=frame.index,
            state=State.FAILED if errors else State.LATE if late else State.OK,
            captured_ns=frame.captured_ns,
            published_ns=published_ns,
            deadline_ms=self._budget.frame_ms,
            level=reached(agenda, work, shed),
            classification=answer,
            segmentation=work.answer(Segmentation),
            tracked=tracked,
            shed=shed,
            reason="; ".join(work.shed.values()) or agenda.reason,
            timings_ms=work.timings_ms(),
            error=errors[0] if errors else None,
            bundles=digests(self.stages, work),
            quality=(*work.quality, *(flag for done in work.done for flag in done.flags), *flags),
            readings_ns=moments.taken,
        )

    def _tell(self, frame: Frame, work: Work) -> None:
        """Tell of outputs that cannot be answers, and have the networks looked at."""
        for done in work.done:
            if done.stuck or done.beyond:
                name = "OUTPUT_STUCK" if done.stuck else "OUTPUT_BEYOND"
                self._events.emit(name, str(done.error), frame=frame.index)
                self.upkeep.doubt()

    def _voted(
        self, answer: Classification | None
    ) -> tuple[Classification | None, tuple[str, ...]]:
        """Return the answer that stands, and how that differs from what was seen."""
        if self._vote is None or answer is None:
            return answer, ()
        stands = self._vote(answer)
        return stands, ("outvoted",) if stands.label != answer.label else ()

    def _count_idle(self, frame: Frame, work: Work, skipped: bool) -> None:
        """Tell, once, when nothing fits the budget for many frames in a row."""
        self._idle = 0 if work.done or skipped else self._idle + 1
        if self._idle == _UNREACHABLE:
            least = min(stage.cost.predicted_ms for stage in self.stages.values())
            self._events.emit(
                "BUDGET_UNREACHABLE",
                f"nothing fits {self._budget.frame_ms:g} ms for {_UNREACHABLE} frames: the "
                f"cheapest network takes {least:.1f} ms; allow more (budget.frame_ms) or use a "
                "smaller one",
                frame=frame.index,
                budget_ms=self._budget.frame_ms,
                least_ms=round(least, 3),
            )
