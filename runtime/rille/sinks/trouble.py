"""A sink that fails: told of once, tried again ever more rarely, told of when it works again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rille.errors import RilleError, SinkError

if TYPE_CHECKING:
    from rille.events import EventLog

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_STEADY_S = 1.0
"""A sink counts as returned after so long without an error: UDP notices only by every other."""


class Trouble:
    """What went wrong with one sink, and how long to wait before the next attempt.

    Args:
        name: what the sink is called.
        recovers: whether it is tried again at all.
        events: where it is told.

    Attributes:
        down: whether it failed and has not returned.
        dead: whether it failed for good.
    """

    def __init__(self, name: str, recovers: bool, events: EventLog) -> None:
        self._name, self._recovers, self._events = name, recovers, events
        self._error: Exception | None = None
        self._pause_s = self._failed_at = 0.0
        self._steady_since: float | None = None
        self.down = self.dead = False

    def check(self) -> None:
        """Raise the first error there was, if there was one.

        Raises:
            RilleError: that error, or a `SinkError` about one that is not rille's own.
        """
        if isinstance(self._error, RilleError):
            raise self._error
        if self._error is not None:
            raise SinkError(f"{self._name}: {self._error!r}") from self._error

    def pause_s(self) -> float:
        """Return the seconds until the next attempt; 0 while it works."""
        return max(0.0, self._failed_at + self._pause_s - time.monotonic()) if self.down else 0.0

    def failed(self, wrong: Exception) -> None:
        """Take note of an error; the first in a row is told of."""
        first, self.down = not self.down, True
        self._error = self._error or wrong
        self._steady_since, self._failed_at = None, time.monotonic()
        self._pause_s = min(_LONGEST_PAUSE_S, 2 * self._pause_s or _FIRST_PAUSE_S)
        if not self._recovers:
            self.dead, self._pause_s = True, 0.0
        if first:
            text = str(wrong) if isinstance(wrong, RilleError) else f"{self._name}: {wrong!r}"
            more = "" if self._recovers else "; it gets nothing more"
            self._events.emit("SINK_FAILED", f"{text}{more}", sink=self._name)

    def worked(self) -> None:
        """Take note of a success; successes for a while end the trouble."""
        if not self.down:
            return
        now = time.monotonic()
        if self._steady_since is None:
            self._steady_since = now
        elif now - self._steady_since >= _STEADY_S:
            self.down, self._pause_s = False, 0.0
            self._events.emit("SINK_RETURNED", f"{self._name}: works again", sink=self._name)
