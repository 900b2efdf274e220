"""Minutes on end at full load: does it get slower, hotter, or larger?"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.bench.drift import Slope, slope
from rille.bench.floor import Floors
from rille.bench.machine import Moment, read_moment
from rille.bench.watts import Watts
from rille.frame import Frame
from rille.latency import summary
from rille.result import State

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.pipeline import Pipeline

_FLOOR_EVERY = 16
"""Frames between two runs of the floor, which shows what the machine alone does."""


@dataclass(frozen=True, kw_only=True)
class Minute:
    """One minute of a soak.

    Attributes:
        ages: n, mean, percentiles and max of capture to publication in milliseconds.
        floor_ms: median of the floor with as many threads.
        misses: frames beyond the budget.
        joules: energy of the whole board for each frame, floors included; None where unknown.
        throttled: what was held back at any reading.
        after: the machine at its end.
    """

    ages: dict[str, Any]
    floor_ms: float
    misses: int
    joules: float | None
    throttled: tuple[str, ...]
    after: Moment

    def to_json(self) -> dict[str, Any]:
        """Return it for a results file."""
        return {
            "latency_ms": self.ages,
            "floor_p50_ms": self.floor_ms,
            "misses": self.misses,
            "joules_per_frame": self.joules,
            **self.after.to_json(),
            "throttled": list(self.throttled),
        }


@dataclass(frozen=True, kw_only=True)
class Soak:
    """All minutes of a soak.

    Attributes:
        minutes: in their order; the last may be shorter.
        minute_s: seconds of one.
    """

    minutes: list[Minute]
    minute_s: float

    @property
    def drifts(self) -> dict[str, Slope]:
        """What may creep -> its change by the minute."""
        ages = [minute.ages["p50"] for minute in self.minutes]
        floors = [minute.floor_ms for minute in self.minutes]
        found = {
            "age p50, ms a minute": slope(ages),
            "age p50 / floor, a minute": slope(np.divide(ages, floors).tolist()),
            "resident memory, MB a minute": slope([m.after.resident_mb for m in self.minutes]),
        }
        heat = [m.after.strain.celsius for m in self.minutes]
        if all(celsius is not None for celsius in heat):
            found["temperature, C a minute"] = slope([c for c in heat if c is not None])
        return found

    @property
    def throttled(self) -> tuple[str, ...]:
        """What was held back at any time."""
        return tuple(sorted({flag for minute in self.minutes for flag in minute.throttled}))

    def to_json(self) -> dict[str, Any]:
        """Return everything, for a results file."""
        return {
            "minute_s": self.minute_s,
            "minutes": [minute.to_json() for minute in self.minutes],
            "drift": {name: found.to_json() for name, found in self.drifts.items()},
            "throttled": list(self.throttled),
        }


def run_soak(
    pipeline: Pipeline,
    floors: Floors,
    pool: Sequence[NDArray[np.uint8]],
    *,
    minutes: float,
    minute_s: float = 60.0,
) -> Soak:
    """Work on frames without a pause.

    Memory stays the same however long it takes: of each minute only the figures are kept.

    Args:
        pipeline: warm.
        floors: plain loops over the same networks.
        pool: (H, W, 3) or (H, W) uint8, taken in turn.
        minutes: how long.
        minute_s: seconds of a minute, for tests.
    """
    done = [
        _minute(pipeline, floors, pool, minute_s * min(1.0, minutes - k))
        for k in range(math.ceil(minutes))
    ]
    return Soak(minutes=done, minute_s=minute_s)


def _minute(
    pipeline: Pipeline, floors: Floors, pool: Sequence[NDArray[np.uint8]], seconds: float
) -> Minute:
    ages: list[float] = []
    plain: list[float] = []
    misses = frames = 0
    end_ns = time.monotonic_ns() + round(seconds * 1e9)
    with Watts() as watts:
        while time.monotonic_ns() < end_ns or not ages:
            pixels = pool[frames % len(pool)]
            if frames % _FLOOR_EVERY == 0:
                plain.append(floors.once(pixels, pipeline.plan.threads))
            frame = Frame(pixels=pixels, index=frames, captured_ns=time.monotonic_ns())
            result = pipeline.run(frame)
            frames += 1
            misses += result.state is not State.OK
            ages.append(result.age_ms)
    return Minute(
        ages=summary(ages),
        floor_ms=float(np.median(plain)),
        misses=misses,
        joules=watts.joules_each(frames),
        throttled=tuple(sorted(watts.throttled)),
        after=read_moment(),
    )
