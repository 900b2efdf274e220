"""What is to be done on the next frame: operating level, jobs, and why something is left out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rille.levels import Level, LevelController, Period
from rille.pipeline.moments import Moments
from rille.pipeline.spare import SpareTime
from rille.pipeline.stages import Stage, Wanted

if TYPE_CHECKING:
    from rille.frame import Frame


@dataclass(frozen=True, slots=True)
class Agenda:
    """What is to be done on a frame.

    Attributes:
        level: the operating level.
        wanted: for each job the stages that can do it, the best first.
        skipped: whether segmentation is left out because the level says so.
        reason: why the level is not "full"; "" where it is.
    """

    level: Level
    wanted: Wanted
    skipped: bool
    reason: str


class Course:
    """Decides over the frames of one source, in order.

    Args:
        stages: the pipeline's stages.
        keep_up: see `Budget.keep_up`.
        strain: returns why the board asks for less work, or None.

    Attributes:
        lost: frames that were replaced by newer ones since the last agenda.
    """

    def __init__(
        self, stages: Mapping[str, Stage], keep_up: bool, strain: Callable[[], str | None] | None
    ) -> None:
        self._stages, self._strain = stages, strain
        self._levels = LevelController(
            classify="classify" in stages, segment="segment" in stages, keep_up=keep_up
        )
        self._period, self._spare = Period(), SpareTime()
        self._looked: dict[str, int] = {}
        self._since = 0
        self.lost = 0

    def agenda(self, begin_ns: int, moments: Moments) -> Agenda:
        """Return what is to be done on a frame, from inputs that a recording keeps."""
        for name, cost_ns in moments.notes("probe ", self._spare.take()).items():
            self._stages[name].cost.probe(cost_ns / 1e6)
        self._learn_light(moments)
        why = self._strain() if self._strain is not None else None
        lost, self.lost = moments.note("lost", self.lost), 0
        strained = bool(moments.note("strained", int(why is not None)))
        level = self._levels.decide(begin_ns, strained=strained, lost=lost)
        reason = why if why and level.every != 1 else self._levels.reason
        wanted: Wanted = []
        if "classify" in self._stages:
            wanted.append((self._stages["classify"],))
        skipped = "segment" in self._stages and not self._due(level)
        if "segment" in self._stages and not skipped:
            rivals = ("segment", "lighter")
            wanted.append(tuple(self._stages[name] for name in rivals if name in self._stages))
        return Agenda(level, wanted, skipped, reason)

    def _learn_light(self, moments: Moments) -> None:
        """Look once more where the live run did, when it is a recording that is replayed."""
        looked, self._looked = self._looked, {}
        for name in moments.notes("light ", looked):
            light = self._stages[name].light
            if light is not None and name not in looked:
                light.look_again()

    def look_again(self, left_ms: float = math.inf) -> None:
        """Look at the last frame with the Sun elsewhere, where a network is in doubt about it.

        Args:
            left_ms: milliseconds until the next frame.
        """
        for name, stage in self._stages.items():
            if stage.light is None or not stage.light.doubtful:
                continue
            if stage.cost.predicted_ms < left_ms:
                stage.light.look_again()
                self._looked[name] = 1

    def _due(self, level: Level) -> bool:
        """Say whether it is this frame's turn to be segmented."""
        self._since += 1
        if not level.every or self._since < level.every:
            return False
        self._since = 0
        return True

    def spend(self, frame: Frame, busy: bool) -> None:
        """Use the time until the next frame to measure what is shed.

        Args:
            frame: the one that was just published.
            busy: whether the next one waits already.
        """
        self._period.see(frame)
        if not busy:
            left_ms = self._period.left_ms(time.monotonic_ns())
            self._spare.probe(self._stages.values(), frame.pixels, left_ms)
            self.look_again(self._period.left_ms(time.monotonic_ns()))
