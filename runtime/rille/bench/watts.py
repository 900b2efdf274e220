"""Power, heat and throttling while something is measured, read in a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rille.closing import Closing
from rille.events import EventLog
from rille.strain import Strain, read_strain
from rille.strain_watch import StrainWatch

_EVERY_S = 0.5


class Watts(Closing):
    """Reads what strains the machine twice a second, from `with` to the end of the block.

    Args:
        read: takes a reading; for another root: `lambda: read_strain(root)`.
        every_s: seconds between two readings, at least 0.01.

    Attributes:
        seconds: how long it read, once closed.
        throttled: what was held back at any reading.
        celsius: the highest temperature; None where none can be read.
    """

    def __init__(self, read: Callable[[], Strain] = read_strain, every_s: float = _EVERY_S) -> None:
        self._read, self._power_w = read, [0.0, 0.0]
        self.celsius: float | None = None
        self.throttled: set[str] = set()
        self.seconds = 0.0
        self._watch = StrainWatch(EventLog(), read=self._look, every_s=every_s)

    def __enter__(self) -> Watts:
        self._began_ns = time.monotonic_ns()
        self._watch.start()
        return self

    def close(self) -> None:
        """Stop reading."""
        self._watch.close()
        self.seconds = (time.monotonic_ns() - self._began_ns) / 1e9

    @property
    def mean_w(self) -> float | None:
        """Mean power into the board; None where it cannot be read."""
        total, count = self._power_w
        return total / count if count else None

    def joules_each(self, frames: int) -> float | None:
        """Return the energy of the whole board for each of so many frames, or None."""
        if self.mean_w is None or not frames:
            return None
        return self.mean_w * self.seconds / frames

    def to_json(self) -> dict[str, Any]:
        """Return it for a results file."""
        return {
            "mean_w": self.mean_w,
            "celsius_max": self.celsius,
            "throttled": sorted(self.throttled),
        }

    def _look(self) -> Strain:
        found = self._read()
        if found.power_w is not None:
            self._power_w = [self._power_w[0] + found.power_w, self._power_w[1] + 1]
        if found.celsius is not None:
            self.celsius = max(found.celsius, self.celsius or found.celsius)
        self.throttled.update(found.throttled)
        return found
