"""Events: what happened that a person or a ground station must know, with how much it matters.

Severities are those of F Prime. An id that repeats is held back after a burst; how often it was
held back stands in the next one that is let through, and in the counts, which are exact.
"""

from __future__ import annotations

import enum
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


class Severity(str, enum.Enum):
    """How much an event matters, as in F Prime."""

    DIAGNOSTIC = "DIAGNOSTIC"
    """For developers."""
    ACTIVITY_LO = "ACTIVITY_LO"
    """Background work."""
    ACTIVITY_HI = "ACTIVITY_HI"
    """What operators follow."""
    WARNING_LO = "WARNING_LO"
    """Something is off; the mission is not touched."""
    WARNING_HI = "WARNING_HI"
    """Something is off and needs somebody's attention."""
    FATAL = "FATAL"
    """This process cannot go on; never held back."""
    COMMAND = "COMMAND"
    """The answer to a command."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is fixed about an event id: its number in telemetry, and its severity."""

    number: int
    severity: Severity


KINDS: Mapping[str, Kind] = {
    "RUN_STARTED": Kind(1, Severity.ACTIVITY_HI),
    "RUN_ENDED": Kind(2, Severity.ACTIVITY_HI),
    "SOURCE_CONNECTED": Kind(10, Severity.ACTIVITY_LO),
    "SOURCE_TROUBLE": Kind(11, Severity.WARNING_LO),
    "SOURCE_STALLED": Kind(12, Severity.WARNING_HI),
    "SOURCE_ENDED": Kind(13, Severity.WARNING_HI),
    "SOURCE_RETURNED": Kind(14, Severity.ACTIVITY_HI),
    "FRAME_FAILED": Kind(20, Severity.WARNING_LO),
    "FRAME_LATE": Kind(21, Severity.WARNING_LO),
    "LEVEL_LOWERED": Kind(30, Severity.WARNING_LO),
    "LEVEL_RAISED": Kind(31, Severity.ACTIVITY_HI),
    "BUDGET_UNREACHABLE": Kind(32, Severity.WARNING_HI),
    "BOARD_STRAINED": Kind(33, Severity.WARNING_HI),
    "BOARD_RELIEVED": Kind(34, Severity.ACTIVITY_HI),
    "NETWORK_REBUILT": Kind(40, Severity.WARNING_HI),
    "BUNDLE_SWAPPED": Kind(41, Severity.ACTIVITY_HI),
    "BUNDLE_REFUSED": Kind(42, Severity.WARNING_HI),
    "BUNDLE_UNCHANGED": Kind(43, Severity.ACTIVITY_HI),
    "WEIGHTS_FLIPPED": Kind(44, Severity.WARNING_HI),
    "WEIGHTS_LOST": Kind(45, Severity.WARNING_HI),
    "NETWORK_RENEWED": Kind(46, Severity.DIAGNOSTIC),
    "BUNDLE_FELL_BACK": Kind(47, Severity.WARNING_HI),
    "BUNDLE_ROLLED_BACK": Kind(48, Severity.WARNING_HI),
    "BUNDLE_CONFIRMED": Kind(49, Severity.ACTIVITY_HI),
    "SINK_FAILED": Kind(50, Severity.WARNING_HI),
    "SINK_RETURNED": Kind(51, Severity.ACTIVITY_HI),
    "SINK_DROPPED": Kind(52, Severity.WARNING_LO),
    "HEARTBEAT_LATE": Kind(60, Severity.WARNING_HI),
    "CHILD_RESTARTED": Kind(61, Severity.WARNING_HI),
    "SAFE_MODE": Kind(62, Severity.FATAL),
    "NOTIFY_UNREACHABLE": Kind(63, Severity.WARNING_LO),
    "CHILD_KILLED": Kind(64, Severity.WARNING_HI),
    "SUN_INFERRED": Kind(70, Severity.WARNING_LO),
    "SUN_CONTRADICTED": Kind(71, Severity.WARNING_HI),
    "SUN_CONFIRMED": Kind(72, Severity.ACTIVITY_HI),
    "OUTPUT_STUCK": Kind(73, Severity.WARNING_HI),
    "OUTPUT_BEYOND": Kind(74, Severity.WARNING_HI),
    "SCENE_UNFAMILIAR": Kind(75, Severity.WARNING_LO),
    "SCENE_FAMILIAR": Kind(76, Severity.ACTIVITY_HI),
    "ROLLBACK_FAILED": Kind(80, Severity.WARNING_HI),
}
"""Every event id there is; numbers are never given anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One event.

    Attributes:
        id: one of `KINDS`.
        severity: how much it matters.
        serial: how many events of any id came before it; those held back leave gaps.
        at_ns: when, on the monotonic clock.
        text: one line for people.
        values: what it is about, by name.
        held_back: events of this id since the last one that was let through.
    """

    id: str
    severity: Severity
    serial: int
    at_ns: int
    text: str
    values: Mapping[str, Any] = field(default_factory=dict)
    held_back: int = 0

    @property
    def number(self) -> int:
        """The id's number in telemetry."""
        return KINDS[self.id].number

    def to_json(self) -> dict[str, Any]:
        """Return everything, for one line of a file."""
        return {
            "event": self.id,
            "severity": self.severity.value,
            "serial": self.serial,
            "at_ns": self.at_ns,
            "text": self.text,
            "values": dict(self.values),
            "held_back": self.held_back,
        }


class EventLog:
    """Takes events from any thread, holds repeats back, and hands the others on.

    Each id may come `burst` times at once and after that once in `every_s` seconds.

    Args:
        burst: events of one id let through at once.
        every_s: seconds in which one more is let through.
        clock: monotonic nanoseconds.

    Attributes:
        counts: id -> events, those held back included.
        recent: the last 1000 that were let through.
    """

    def __init__(
        self,
        burst: int = 5,
        every_s: float = 1.0,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        if burst < 1 or not every_s > 0:
            raise ValueError("burst must be at least 1 and every_s above 0")
        self.counts: Counter[str] = Counter()
        self.recent: deque[Event] = deque(maxlen=1000)
        self._burst, self._every_ns, self._clock = burst, round(every_s * 1e9), clock
        self._lock = threading.Lock()
        self._serial = 0
        self._tokens: dict[str, tuple[float, int]] = {}
        self._held_back: Counter[str] = Counter()
        self._listeners: list[Callable[[Event], None]] = []

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` with each event that is let through, in the thread that emits it."""
        self._listeners.append(listener)

    def emit(self, name: str, text: str, **values: Any) -> Event | None:
        """Take one event.

        Args:
            name: one of `KINDS`.
            text: one line for people.
            values: what it is about; numbers and short texts.

        Returns:
            The event, or None where it was held back.

        Raises:
            KeyError: no such id: a fault in rille itself.
        """
        severity = KINDS[name].severity
        with self._lock:
            now = self._clock()
            serial, self._serial = self._serial, self._serial + 1
            self.counts[name] += 1
            if severity is not Severity.FATAL and not self._admit(name, now):
                self._held_back[name] += 1
                return None
            event = Event(
                id=name,
                severity=severity,
                serial=serial,
                at_ns=now,
                text=text,
                values=values,
                held_back=self._held_back.pop(name, 0),
            )
            self.recent.append(event)
        for listener in self._listeners:
            listener(event)
        return event

    def _admit(self, name: str, now: int) -> bool:
        """Take a token of this id's bucket, if there is one."""
        tokens, since = self._tokens.get(name, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - since) / self._every_ns)
        admitted = tokens >= 1.0
        self._tokens[name] = (tokens - admitted, now)
        return admitted
