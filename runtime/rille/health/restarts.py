"""How often a run may be started again, and after which pause."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0


class RestartCap:
    """Allows so many restarts in so much time; the first is at once, each further one waits twice.

    Args:
        most: restarts allowed.
        within_s: in so many seconds.
        clock: monotonic nanoseconds.
    """

    def __init__(
        self, most: int, within_s: float, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._most, self._within_ns, self._clock = most, within_s * 1e9, clock
        self._made: deque[int] = deque()

    def pause_s(self) -> float | None:
        """Count one restart and return how long to wait before it; None where it is too many."""
        now = self._clock()
        while self._made and now - self._made[0] > self._within_ns:
            self._made.popleft()
        if len(self._made) >= self._most:
            return None
        earlier = len(self._made)
        self._made.append(now)
        return min(_FIRST_PAUSE_S * 2 ** (earlier - 1), _LONGEST_PAUSE_S) if earlier else 0.0
