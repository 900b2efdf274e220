"""Running the networks of a pipeline on one frame, one after the other or at the same time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from rille.cost import RECENT, CostModel
from rille.errors import InferenceError, OutputRangeError, OutputStuckError
from rille.events import EventLog
from rille.network import Network, Ready, StageTimes
from rille.pipeline.lighting import Light
from rille.pipeline.moments import Moments
from rille.postprocess.guard import OutputGuard
from rille.preprocess import Views
from rille.result import Classification, Segmentation

if TYPE_CHECKING:
    from rille.frame import Frame

Answer = TypeVar("Answer", Classification, Segmentation)

_TELLING_SHARE = 0.1
"""A job that costs less than this share of another tells nothing of that one's cost."""
_VITAL_WAIT = 8
"""Sheds before a trial where nothing is published without the stage: a late answer beats none."""


@dataclass(slots=True)
class Stage:
    """A network in a pipeline, with what it costs.

    Attributes:
        name: "classify", "segment" or "lighter" (segmentation by a lighter network).
        network: what runs.
        cost: what it will cost.
        load_ms: the most that the other jobs cost since this one is shed; 0 if unknown.
        guard: refuses outputs that cannot be answers.
        light: turns frames so that the Sun stands where the network needs it; or None.
    """

    name: str
    network: Network
    cost: CostModel
    load_ms: float = 0.0
    guard: OutputGuard = field(default_factory=OutputGuard)
    light: Light | None = None

    def begin(self, events: EventLog) -> None:
        """Begin with another source: what was seen of the last tells nothing of it."""
        self.guard = OutputGuard()
        self.light = Light.of(self.network, events)

    @classmethod
    def of(cls, name: str, network: Network, quantile: float, vital: bool) -> Stage:
        """Return a stage that nothing was measured of; `vital` if it is the first job's."""
        cost = CostModel(quantile, first_wait=_VITAL_WAIT) if vital else CostModel(quantile)
        return cls(name, network, cost)

    def prepare(self, frame: Frame, views: Views) -> Ready:
        """Make a frame ready for `answer`; `views` are of it."""
        if self.light is not None:
            return self.light.prepare(frame, views)
        return self.network.prepare(frame.pixels, views)

    def answer(
        self, frame: Frame, ready: Ready
    ) -> tuple[Classification | Segmentation, StageTimes, tuple[str, ...]]:
        """Answer for the frame that was last made ready, with what is doubtful about the light.

        Raises:
            InferenceError: see `rille.network.Network.answer`.
        """
        if self.light is not None:
            return self.light.answer(frame, ready, self.guard)
        return *self.network.answer(ready, self.guard), ()

    def ease(self, others_ms: float) -> float:
        """Return how much a load has eased since this stage is shed, 0 to 1; 1 if unknown.

        Args:
            others_ms: what the other jobs cost lately; those of the first frames without this stage
                were measured beside it and tell nothing.
        """
        if self.cost.sheds < RECENT:
            self.load_ms = 0.0
            return 1.0
        self.load_ms = max(self.load_ms, others_ms)
        if self.load_ms < _TELLING_SHARE * self.cost.predicted_ms:
            return 1.0
        return others_ms / self.load_ms if self.load_ms else 1.0


@dataclass(slots=True)
class Done:
    """What came of a stage.

    Attributes:
        stage: which.
        left_ms: the time it had.
        answer, times: what it gave; None where it failed.
        error: why it failed.
        stuck: whether it failed because its outputs cannot be answers.
        beyond: whether it failed because they are out of range.
        flags: what is doubtful about the light.
        cost_ms: what it took.
    """

    stage: Stage
    left_ms: float
    answer: Classification | Segmentation | None = None
    times: StageTimes | None = None
    error: str | None = None
    stuck: bool = False
    beyond: bool = False
    flags: tuple[str, ...] = ()
    cost_ms: float = 0.0

    def learn(self) -> None:
        """Let the stage's cost model know."""
        if self.error is None:
            self.stage.cost.record(self.cost_ms, self.left_ms)


@dataclass(slots=True)
class Work:
    """What came of a frame's stages.

    Attributes:
        done: what ran.
        shed: stages left out, with the reason.
        quality: what is wrong with the picture.
    """

    done: list[Done] = field(default_factory=list)
    shed: dict[str, str] = field(default_factory=dict)
    quality: tuple[str, ...] = ()

    @property
    def ran(self) -> set[str]:
        """The stages that ran, with or without success."""
        return {done.stage.name for done in self.done}

    def answer(self, kind: type[Answer]) -> Answer | None:
        """Return the answer of a kind, if there is one."""
        return next((done.answer for done in self.done if isinstance(done.answer, kind)), None)

    def timings_ms(self) -> dict[str, float]:
        """Return stage and part -> milliseconds."""
        return {
            f"{done.stage.name} {part}": getattr(done.times, f"{part}_ms")
            for done in self.done
            if done.times is not None
            for part in ("preprocess", "infer", "postprocess")
        }


Wanted = list[tuple[Stage, ...]]
"""For each job the stages that can do it, the best first."""


class Runner:
    """Runs the stages that fit into the time left.

    Args:
        parallel: whether two stages run at the same time, each in its own thread.
        margin_ms: kept free for what follows the last stage.
    """

    def __init__(self, parallel: bool, margin_ms: float) -> None:
        self.parallel = parallel
        self._margin_ms = margin_ms
        self._aside = ThreadPoolExecutor(1, "rille-aside") if parallel else None
        self._views = Views()

    def run(
        self,
        wanted: Wanted,
        frame: Frame,
        deadline_ns: int,
        moments: Moments,
        look: Callable[[Frame, Views], tuple[str, ...]],
    ) -> Work:
        """Work on one frame.

        Args:
            wanted: for each job the stages that can do it, the best first.
            frame: what to look at.
            deadline_ns: monotonic time at which the frame would be late.
            moments: where decisions take their time from.
            look: tells what is wrong with the picture, of which it is given views.
        """
        self._views.show(frame.pixels)
        if self._aside is not None and len(wanted) > 1:
            return self._at_once(self._aside, wanted, frame, deadline_ns, moments, look)
        work = Work()
        # All that ran last time is made ready first, and the picture looked at while it is in the
        # caches: an inference leaves nothing there.
        ready = {
            best.name: best.prepare(frame, self._views)
            for best, *_ in wanted
            if not best.cost.sheds
        }
        work.quality = look(frame, self._views)
        for stages in wanted:
            left_ms = (deadline_ns - moments.now(f"{stages[0].name} left")) / 1e6
            chosen = self._choose(stages, wanted, left_ms - self._margin_ms, work)
            if chosen is not None:
                work.done.append(self._do(chosen, frame, moments, ready.get(chosen[0].name)))
                work.done[-1].learn()
        return work

    def _at_once(
        self,
        aside: ThreadPoolExecutor,
        wanted: Wanted,
        frame: Frame,
        deadline_ns: int,
        moments: Moments,
        look: Callable[[Frame, Views], tuple[str, ...]],
    ) -> Work:
        """Run the first job, and the look at the picture, in the other thread."""
        work = Work()
        left_ms = (deadline_ns - moments.now("left")) / 1e6 - self._margin_ms
        first, *others = (self._choose(stages, wanted, left_ms, work) for stages in wanted)

        def beside() -> tuple[tuple[str, ...], Done | None]:
            done = self._do(first, frame, moments) if first is not None else None
            return look(frame, self._views), done

        started = aside.submit(beside)
        try:
            here = [self._do(chosen, frame, moments) for chosen in others if chosen is not None]
        finally:
            # Whatever interrupts this thread: the other still holds the network.
            work.quality, there = started.result()
        work.done = [*([there] if there is not None else []), *here]
        for done in work.done:
            done.learn()
        return work

    def _choose(
        self, stages: tuple[Stage, ...], wanted: Wanted, left_ms: float, work: Work
    ) -> tuple[Stage, float] | None:
        """Return the best stage that fits, with the time it has; note what is shed."""
        for stage in stages:
            vital = stage is wanted[0][-1]
            if stage.cost.admits(left_ms, stage.ease(_others_ms(stage, wanted)), vital):
                return stage, left_ms
            work.shed[stage.name] = (
                f"{stage.name} takes {stage.cost.predicted_ms:.1f} ms, {max(left_ms, 0):.1f} left"
            )
        return None

    def _do(
        self,
        chosen: tuple[Stage, float],
        frame: Frame,
        moments: Moments,
        ready: Ready | None = None,
    ) -> Done:
        """Run one stage; an engine's failure is its outcome, not an exception."""
        stage, left_ms = chosen
        done = Done(stage, left_ms)
        begin = moments.now(f"{stage.name} begin")
        try:
            ready = ready or stage.prepare(frame, self._views)
            done.answer, done.times, done.flags = stage.answer(frame, ready)
        except InferenceError as wrong:
            done.error = f"{'segment' if stage.name == 'lighter' else stage.name}: {wrong}"
            done.stuck = isinstance(wrong, OutputStuckError)
            done.beyond = isinstance(wrong, OutputRangeError)
        done.cost_ms = (moments.now(f"{stage.name} end") - begin) / 1e6
        return done

    def close(self) -> None:
        """End the other thread."""
        if self._aside is not None:
            self._aside.shutdown()


def _others_ms(stage: Stage, wanted: Wanted) -> float:
    """Return what the jobs cost lately that `stage` is not for."""
    return sum(
        rivals[0].cost.recent_ms for rivals in wanted if all(rival is not stage for rival in rivals)
    )
