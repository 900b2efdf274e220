"""The signals that a supervisor acts on, and a wait that any of them ends."""

from __future__ import annotations

import os
import select
import signal
import time
from types import FrameType

_STOPS = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Notes SIGTERM, SIGINT and SIGHUP while its context lasts; main thread alone.

    Attributes:
        stop: the first SIGTERM or SIGINT that came, or None.
        stopped_ns: when it came, on the monotonic clock.
        urgent: whether another one followed.
        hangup: whether SIGHUP came; whoever acts on it sets it back.
    """

    def __init__(self) -> None:
        self.stop: int | None = None
        self.stopped_ns = 0
        self.urgent = self.hangup = False

    def wait(self, timeout_s: float) -> None:
        """Wait until a signal comes or a child ends, at most `timeout_s`."""
        if select.select([self._reader], [], [], timeout_s)[0]:
            os.read(self._reader, 4096)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.hangup = True
        elif number in _STOPS and self.stop is None:
            self.stop, self.stopped_ns = number, time.monotonic_ns()
        elif number in _STOPS:
            self.urgent = True

    def __enter__(self) -> Signals:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before_wake = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        numbers = (*_STOPS, signal.SIGHUP, signal.SIGCHLD)
        self._before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(self, *raised: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._before_wake)
        os.close(self._reader)
        os.close(self._writer)
