"""The bounded queue between a run and a sink's thread, and its exact account."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from rille.events import Event
from rille.result import Result
from rille.sinks.base import SinkCounts

EVENT_ROOM = 1000
"""Events that a lossless buffer holds beyond its depth, because an event never waits."""
_LOOK_S = 0.05
_HURRY_S = 0.3

Thing = Result | Event


class Buffer:
    """Holds results and events for one sink; the oldest make room for the newest.

    `offered == written + dropped + failed + waiting` at every moment; what comes after `close` is
    not taken and not counted.

    Args:
        depth: things it holds.
        max_bytes: bytes of pixels it holds; one frame always fits.
        lossless: whether results wait for room.
    """

    def __init__(self, depth: int, max_bytes: int, lossless: bool) -> None:
        self._depth, self._max_bytes, self._lossless = depth, max_bytes, lossless
        self._things: deque[tuple[Thing, int]] = deque()
        lock = threading.Lock()
        self._filled, self._room = threading.Condition(lock), threading.Condition(lock)
        self._offered = self._written = self._dropped = self._failed = 0
        self._bytes = self._in_hand = 0
        self._taken = 0.0
        self._closed = self._abandoned = False
        self._patience_ends = float("inf")

    @property
    def dropped(self) -> int:
        """Things dropped so far."""
        return self._dropped

    @property
    def behind(self) -> bool:
        """Whether what is put in now has to wait; not exact while the other thread works."""
        return bool(self._things or self._in_hand)

    def put(self, thing: Thing, size: int = 0, patient: Callable[[], bool] = bool) -> None:
        """Queue one thing, in microseconds unless it may wait.

        Args:
            thing: a result or an event.
            size: bytes of pixels in it.
            patient: in lossless mode says whether a result may still wait for room.
        """
        with self._filled:
            if self._lossless and isinstance(thing, Event):
                # It may come from the sink's own thread, which is the one that makes room.
                full = len(self._things) >= self._depth + EVENT_ROOM
            else:
                while self._lossless and self._full(size) and self._may_wait(patient):
                    self._room.wait(_LOOK_S)
                while not self._closed and self._full(size):
                    self._bytes -= self._things.popleft()[1]
                    self._dropped += 1
                full = False
            if self._closed:
                return
            self._offered += 1
            if full:
                self._dropped += 1
                return
            self._things.append((thing, size))
            self._bytes += size
            self._filled.notify()

    def take(self, pause_s: float = 0.0) -> Thing | None:
        """Wait `pause_s`, then for a thing, and take it; None when closed and empty."""
        with self._filled:
            end = time.monotonic() + pause_s
            while not self._closed and (left_s := end - time.monotonic()) > 0:
                self._filled.wait(left_s)
            while not self._things and not self._closed:
                self._filled.wait()
            if not self._things:
                return None
            thing, size = self._things.popleft()
            self._bytes -= size
            self._in_hand, self._taken = 1, time.monotonic()
            self._room.notify()
            return thing

    def done(self, *, written: bool) -> None:
        """Count the end of the thing that was taken."""
        with self._filled:
            if not self._abandoned:
                self._in_hand = 0
                self._written += written
                self._failed += not written

    def held_s(self) -> float:
        """Return the seconds since the thing in hand was taken; 0 where there is none."""
        return time.monotonic() - self._taken if self._in_hand else 0.0

    def hurry(self) -> None:
        """Let nothing wait longer than 0.3 s from now on; safe in a signal handler."""
        self._patience_ends = time.monotonic() + _HURRY_S

    def close(self) -> None:
        """Take nothing more."""
        with self._filled:
            self._closed = True
            self._filled.notify_all()
            self._room.notify_all()

    def abandon(self) -> int:
        """Count everything that waits as dropped, and return how much that was."""
        with self._filled:
            self._closed = self._abandoned = True
            count = len(self._things) + self._in_hand
            self._things.clear()
            self._dropped += count
            self._bytes = self._in_hand = 0
            return count

    def counts(self) -> SinkCounts:
        """Return the account at this moment."""
        with self._filled:
            return SinkCounts(
                offered=self._offered,
                written=self._written,
                dropped=self._dropped,
                failed=self._failed,
                waiting=len(self._things) + self._in_hand,
            )

    def _full(self, size: int) -> bool:
        if len(self._things) >= self._depth:
            return True
        return bool(self._things) and size > 0 and self._bytes + size > self._max_bytes

    def _may_wait(self, patient: Callable[[], bool]) -> bool:
        return not self._closed and patient() and time.monotonic() < self._patience_ends
