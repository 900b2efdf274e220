"""The frame host: what is sent at each turn, with the camera's and the clock's faults in it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rille.barcode import Mark, stamp
from rille.hil.pictures import SPOILT, at_turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rille.hil.scenario import Fault, Scenario


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """A frame on its way to the link.

    Attributes:
        pixels: picture and barcode.
        number: of the frame, from 0.
        picture: which picture it shows; -1 for one that a fault made.
        stamp_us: the time that its barcode says.
        captured_ns: when it is said to be captured; None for the moment it is sent.
        effect: what must come of it; see `rille.hil.pictures.SPOILT`, "" for a good one.
        hold_s: how long it is kept back.
    """

    pixels: NDArray[np.uint8]
    number: int
    picture: int
    stamp_us: int
    captured_ns: int | None = None
    effect: str = ""
    hold_s: float = 0.0


class FrameHost:
    """Makes the frames of a scenario, turn by turn; the same seed makes the same frames.

    Args:
        scenario: what to show and to break.
        pictures: what there is to show.
    """

    def __init__(self, scenario: Scenario, pictures: Sequence[NDArray[np.uint8]]) -> None:
        self._pictures = pictures
        self._faults = [f for f in scenario.fault if f.component in ("camera", "clock")]
        self._noise = np.random.default_rng(scenario.seed)
        self._random = random.Random(scenario.seed)
        self._clock_began: dict[int, int] = {}
        self._stuck = 0
        self.number = 0

    def turn(self, turn: int, at_s: float) -> Iterator[Outgoing]:
        """Give the frames of one turn: one, none, or several.

        Args:
            turn: which turn, from 0.
            at_s: seconds since the scenario began; negative while the device starts.
        """
        active = [fault for fault in self._faults if fault.active(at_s)]
        camera = [fault for fault in active if fault.component == "camera"]
        if any(_silent(fault, turn, at_s) for fault in camera):
            return
        copies = next((max(1, round(f.amount)) for f in camera if f.value == "fast"), 1)
        for copy in range(copies):
            yield self._frame(turn + copy, at_s, camera, active)

    def _frame(self, turn: int, at_s: float, camera: list[Fault], active: list[Fault]) -> Outgoing:
        stuck = any(fault.type == "stuck" for fault in camera)
        picture = self._stuck if stuck else at_turn(len(self._pictures), turn)
        self._stuck = picture
        pixels, effect, hold_s = self._pictures[picture], "", 0.0
        for fault in camera:
            if (fault.type, fault.value) in SPOILT:
                spoil, effect = SPOILT[fault.type, fault.value]
                pixels, picture = spoil(pixels, self._noise), -1
            hold_s += fault.amount if fault.type == "delayed" else 0.0
        now = time.monotonic_ns()
        stamp_us, captured_ns = now // 1000, None
        for k, fault in enumerate(self._faults):
            if fault not in active or fault.component != "clock":
                continue
            if fault.value == "capture":
                captured_ns = now + round(fault.amount * 1e9)
            elif fault.value == "":
                stamp_us = self._told(fault, self._clock_began.setdefault(k, stamp_us), stamp_us)
        made = Outgoing(
            pixels=stamp(pixels, Mark(self.number, stamp_us)),
            number=self.number,
            picture=picture,
            stamp_us=stamp_us,
            captured_ns=now if hold_s and captured_ns is None else captured_ns,
            effect=effect,
            hold_s=hold_s,
        )
        self.number += 1
        return made

    def _told(self, fault: Fault, began_us: int, now_us: int) -> int:
        """Return what a faulty clock says instead of `now_us`; never below 0."""
        amount_us = round(fault.amount * 1e6)
        told = {
            "stuck": began_us,
            "garbage": self._random.getrandbits(47),
            "wrong": now_us + amount_us,
            "slow": began_us + round((now_us - began_us) * fault.amount),
            "delayed": now_us - amount_us,
            "intermittent": now_us + amount_us * (self.number % 2),
        }[fault.type]
        return max(0, told)


def _silent(fault: Fault, turn: int, at_s: float) -> bool:
    """Return whether a camera's fault leaves a turn without a frame."""
    if fault.type == "off":
        return True
    if fault.type == "slow":
        return turn % max(1, round(fault.amount)) != 0
    if fault.type == "intermittent":
        return int((at_s - fault.at_s) / fault.amount) % 2 == 0 if fault.amount else True
    return False
