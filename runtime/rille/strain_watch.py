"""Tells whether the machine is strained, from readings that another thread takes.

A driver or a vendor's tool that hangs holds up that thread alone; frames ask for the last reading.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from rille.closing import Closing
from rille.events import EventLog
from rille.strain import Strain, read_strain

_HOT_WITHIN_C, _COOL_BELOW_C = 5.0, 10.0
_POWER_RELIEF = 0.9
_CALM_READINGS = 5


class StrainWatch(Closing):
    """Reads the machine once in a while and keeps the reason why it is strained, if it is.

    Strained: within 5 degrees of a trip point, throttled, or above the permitted power. Relieved:
    five readings in a row with more than 10 degrees left, not throttled, and below nine tenths of
    the permitted power. Use it as a context manager, or call `start` and `close`.

    Args:
        events: told of BOARD_STRAINED and BOARD_RELIEVED.
        max_watt: power that the board may take; None for no limit.
        read: takes a reading; for another root: `lambda: read_strain(root)`.
        every_s: seconds between two readings, at least; the smallest is 0.01.

    Attributes:
        last: the last reading.
        reason: why the machine is strained, in a few words, or None. Cheap, never blocks.
    """

    def __init__(
        self,
        events: EventLog,
        *,
        max_watt: float | None = None,
        read: Callable[[], Strain] = read_strain,
        every_s: float = 1.0,
    ) -> None:
        if max_watt is not None and not max_watt > 0:
            raise ValueError(f"max_watt must be above 0, not {max_watt:g}")
        if not every_s >= 0.01:
            raise ValueError(f"every_s must be at least 0.01, not {every_s:g}")
        self.last = Strain()
        self.reason: str | None = None
        self._events, self._max_watt, self._read, self._every_s = events, max_watt, read, every_s
        self._calm = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def strained(self) -> bool:
        """Whether there is a reason to do less."""
        return self.reason is not None

    def start(self) -> None:
        """Begin to read, now and then every `every_s` seconds."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="rille-strain", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop reading; a reading that hangs is left behind."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(0.2)

    def look(self, strain: Strain) -> None:
        """Judge one reading; the thread calls it, and who takes readings of their own may."""
        self.last = strain
        above = self._judge(strain, _HOT_WITHIN_C, 1.0)
        if above is not None:
            self._calm = 0
            if self.reason is None:
                self._events.emit("BOARD_STRAINED", above, **_values(strain))
            self.reason = above
        elif self.reason is not None:
            relieved = self._judge(strain, _COOL_BELOW_C, _POWER_RELIEF) is None
            self._calm = self._calm + 1 if relieved else 0
            if self._calm >= _CALM_READINGS:
                self._events.emit("BOARD_RELIEVED", f"no longer {self.reason}", **_values(strain))
                self.reason = None

    def _judge(self, strain: Strain, margin_c: float, power_factor: float) -> str | None:
        """Return what is beyond the limits that these margins draw."""
        if strain.throttled:
            return f"throttled: {', '.join(strain.throttled)}"
        if strain.celsius is not None and strain.trip_celsius is not None:
            left = strain.trip_celsius - strain.celsius
            if left <= margin_c:
                return f"hot: {strain.celsius:.0f} C, slowed down at {strain.trip_celsius:.0f} C"
        limit, power = self._max_watt, strain.power_w
        if limit is not None and power is not None and power > limit * power_factor:
            return f"power: {power:.1f} W of {limit:g} W permitted"
        return None

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.look(self._read())
            self._stop.wait(self._every_s)

    def __enter__(self) -> StrainWatch:
        self.start()
        return self


def _values(strain: Strain) -> dict[str, float | str]:
    """Return what is known, for an event."""
    known = {
        "celsius": strain.celsius,
        "trip_celsius": strain.trip_celsius,
        "power_w": strain.power_w,
        "throttled": ", ".join(strain.throttled) or None,
    }
    return {name: value for name, value in known.items() if value is not None}
