"""From which side the Sun stands, frame after frame: told by the vehicle, checked, or inferred."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rille.light import AZIMUTHS_DEG, Turn, turn_for

if TYPE_CHECKING:
    from rille.events import EventLog
    from rille.result import Segmentation
    from rille.vehicle import Vehicle

INFERRED, CONTRADICTED = "sun-inferred", "sun-contradicted"
LIGHT_FLAGS = (INFERRED, CONTRADICTED)
_MARGIN = 0.1
"""Share of both sums of squared scores by which the other turn must win to count against."""
_LEAST = 0.05
"""Sum of squared scores below which a frame tells nothing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to look at a frame.

    Attributes:
        turn: the turn whose answer counts.
        probe: another to try on the same frame if time allows, for `SunTracker.judge`; or None.
    """

    turn: Turn
    probe: Turn | None


class SunTracker:
    """Decides for each frame of one source how to turn it for a network of canonical light.

    Where the vehicle knows the Sun, every `every`-th frame is also tried with the Sun elsewhere. If
    that wins, the next ones are too; if it wins `patience` times in a row, the vehicle is
    contradicted, the inferred side counts, and answers carry the flag `sun-contradicted` until the
    vehicle's side wins as often. Where the vehicle does not know it, the Sun is taken to be where
    it was last, or at the network's own side at first, answers carry the flag `sun-inferred`, and
    every frame is tried both ways until one way won `patience` times in a row.

    Args:
        light: side from which the network had its light; a key of `AZIMUTHS_DEG`.
        events: where to tell of changes.
        sides: 2 to look for the Sun where it should be and opposite, 4 for a quarter off as well.
            For a network of horizontal light it is looked for a quarter off alone.
        every: frames between two checks.
        patience: tries in a row that change its mind.
    """

    def __init__(
        self,
        light: str,
        events: EventLog | None = None,
        sides: int = 2,
        every: int = 25,
        patience: int = 5,
    ) -> None:
        if light not in AZIMUTHS_DEG or sides not in (2, 4) or every < 1 or patience < 1:
            raise ValueError("light must be a side, sides 2 or 4, every and patience at least 1")
        self._light, self._events = light, events
        alone = 90.0 if light == "horizontal" else 180.0
        self._others = (180.0, 90.0, 270.0) if sides == 4 and alone == 180.0 else (alone,)
        self._every, self._patience = every, patience
        self._azimuth = AZIMUTHS_DEG[light][0]
        self._correction = 0.0
        self._told: bool | None = None
        self._before: Turn | None = None
        self._since = self._against = self._agreed = self._tried = 0

    def plan(self, vehicle: Vehicle | None) -> Plan:
        """Return how to look at the next frame, from what the vehicle knows."""
        azimuth = vehicle.sun_azimuth_deg if vehicle is not None else None
        self._hear(azimuth)
        believed = self._azimuth + self._correction
        turn = turn_for(self._light, believed, self._before)
        self._before = turn
        if not self._told:
            turn = replace(turn, off_deg=None)
        probe = None
        self._since += 1
        if self._against or self._since >= self._every or (not self._told and not self._settled):
            self._since = 0
            other = turn_for(self._light, believed + self._other)
            probe = other if other != turn else None
        return Plan(turn, probe)

    def judge(
        self, plan: Plan, answer: Segmentation, probed: Segmentation | None = None
    ) -> tuple[str, ...]:
        """Take what was found, and return the flags of this answer.

        Args:
            plan: of this frame.
            answer: what `plan.turn` gave.
            probed: what `plan.probe` gave, if it was tried.
        """
        if plan.probe is not None and probed is not None:
            ours, theirs = _evidence(answer), _evidence(probed)
            if ours + theirs >= _LEAST:
                self._weigh((theirs - ours) / (ours + theirs))
        if not self._told:
            return (INFERRED,)
        return (CONTRADICTED,) if self._correction else ()

    @property
    def _settled(self) -> bool:
        return self._agreed >= self._patience

    @property
    def _other(self) -> float:
        """Where else to look: opposite, or each other side in turn; back to what was told first."""
        if self._correction and self._told and len(self._others) == 1:
            return -self._correction
        return self._others[self._tried % len(self._others)]

    def _hear(self, azimuth: float | None) -> None:
        """Take the vehicle's word, or notice that there is none."""
        told = azimuth is not None
        if told != self._told:
            if not told:
                self._emit("SUN_INFERRED", "the Sun is not known; its side is inferred")
                self._azimuth += self._correction
            elif self._told is not None:
                self._emit("SUN_CONFIRMED", "the vehicle knows the Sun again")
            self._told, self._correction = told, 0.0
            self._against = self._agreed = 0
        if azimuth is not None:
            self._azimuth = azimuth

    def _weigh(self, lead: float) -> None:
        """Count one try; `lead` is how far the other turn is ahead, -1 to 1."""
        if lead > _MARGIN:
            self._against, self._agreed = self._against + 1, 0
        elif lead <= 0:
            self._against, self._agreed = 0, self._agreed + 1
            self._tried += 1
        if self._against >= self._patience:
            self._change()

    def _change(self) -> None:
        """Believe the other side from now on."""
        self._correction = (self._correction + self._other) % 360.0
        self._against, self._agreed, self._before = 0, 0, None
        if not self._told:
            return
        if self._correction:
            self._emit(
                "SUN_CONTRADICTED",
                f"the Sun is not at {self._azimuth:.0f} degrees as told, but about "
                f"{(self._azimuth + self._correction) % 360:.0f}",
                told_deg=self._azimuth,
                inferred_deg=(self._azimuth + self._correction) % 360,
            )
        else:
            self._emit("SUN_CONFIRMED", "the Sun is where the vehicle says again")

    def _emit(self, name: str, text: str, **values: float) -> None:
        if self._events is not None:
            self._events.emit(name, text, **values)


def _evidence(found: Segmentation) -> float:
    """Return the sum of squared scores of the features found."""
    return sum(feature.score**2 for feature in found.features)
