"""All sinks of a run: each result and each event goes to every one; none waits for another."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rille.errors import RilleError
from rille.sinks.base import RunView, Sink, SinkCounts
from rille.sinks.buffered import BufferedSink, without_pixels

if TYPE_CHECKING:
    from rille.events import Event, EventLog
    from rille.result import Result


class SinkFan(Sink):
    """Hands results and events to sinks, each behind a buffer of its own.

    It listens to the events itself. One thread writes and closes; events come from any thread.

    Args:
        events: the events of the run.
        lossless: whether results wait for the sinks; for sources that are not in real time.
    """

    def __init__(self, events: EventLog, *, lossless: bool) -> None:
        self._events, self._lossless = events, lossless
        self._sinks: tuple[BufferedSink, ...] = ()
        self._hurried = self._closed = False
        events.listen(self.event)

    def add(self, sink: Sink, name: str, *, required: bool = False) -> None:
        """Take a sink.

        Args:
            sink: what is to be given everything from now on.
            name: what to call it; made unique if need be.
            required: whether the run ends when it fails.
        """
        taken = {buffered.name for buffered in self._sinks}
        unique = name
        for number in range(2, len(taken) + 2):
            if unique not in taken:
                break
            unique = f"{name} ({number})"
        buffered = BufferedSink(
            sink, unique, self._events, lossless=self._lossless, required=required
        )
        buffered.observe(RunView(sinks=self.counts, events=self._events.counts))
        self._sinks = (*self._sinks, buffered)

    def counts(self) -> dict[str, SinkCounts]:
        """Return every sink's account, by name."""
        return {sink.name: sink.counts for sink in self._sinks}

    def write(self, result: Result) -> None:
        """Give a result to every sink.

        Raises:
            SinkError: a required sink failed.
        """
        black: Result | None = None
        for sink in self._sinks:
            if sink.wants_black:
                black = black or without_pixels(result)
                sink.put(black)
            else:
                sink.put(result)

    def event(self, event: Event) -> None:
        """Give an event to every sink."""
        for sink in self._sinks:
            sink.event(event)

    def hurry(self) -> None:
        """End soon: wait for no sink longer than 0.3 s; safe in a signal handler."""
        self._hurried = True
        for sink in self._sinks:
            sink.hurry()

    def close(self, timeout_s: float = 10.0, required_s: float = 60.0) -> None:
        """Complete all sinks, the required ones last, so that they hear what became of the others.

        Safe to call twice.

        Args:
            timeout_s: for all that are not required together; 0.5 s after `hurry`.
            required_s: for all that are; 5 s after `hurry`.

        Raises:
            SinkError: a required sink failed; all were closed.
        """
        if self._closed:
            return
        self._closed = True
        if self._hurried:
            timeout_s, required_s = min(timeout_s, 0.5), min(required_s, 5.0)
        problem: RilleError | None = None
        for required, limit_s in ((False, timeout_s), (True, required_s)):
            sinks = [sink for sink in self._sinks if sink.required == required]
            end = time.monotonic() + limit_s
            for sink in sinks:
                sink.finish()
            for sink in sinks:
                try:
                    sink.close(end - time.monotonic())
                except RilleError as wrong:
                    problem = problem or wrong
        if problem is not None:
            raise problem
