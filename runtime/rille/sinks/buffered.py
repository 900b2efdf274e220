"""A sink in a thread of its own behind a bounded buffer: no sink ever delays a frame.

What is offered to a full buffer pushes the oldest out, counted. A sink that fails is told of once;
where it `recovers` it is tried again, ever more rarely, and meanwhile the buffer keeps the newest.
In `lossless` mode (frames that are read on demand) a result waits for room instead, as long as the
sink works at all.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rille.errors import SinkError
from rille.result import Result
from rille.sinks.base import Sink, SinkCounts
from rille.sinks.buffer import Buffer, Thing
from rille.sinks.trouble import Trouble

if TYPE_CHECKING:
    from rille.events import Event, EventLog
    from rille.sinks.base import RunView

DEPTH = 256
MAX_PIXEL_BYTES = 64 * 1024 * 1024
_TELL_EVERY_S = 1.0
_BLACK = np.zeros((), np.uint8)


class BufferedSink(Sink):
    """Gives a sink its own thread; see the module's description.

    The thread alone calls the sink's methods, `close` too, so none of them needs a lock. It is a
    daemon: one that hangs in a system call does not keep the process alive.

    Args:
        sink: the sink.
        name: what to call it in events, counts and errors.
        events: where its failures, returns and drops are told of.
        depth: results and events the buffer holds; at least 1.
        max_pixel_bytes: bytes of pixels it holds, for a sink that takes them; one frame always
            fits.
        lossless: whether a result waits for room.
        required: whether an error of the sink ends the run: it is raised by the next `write` and
            by `close`.
    """

    def __init__(
        self,
        sink: Sink,
        name: str,
        events: EventLog,
        *,
        depth: int = DEPTH,
        max_pixel_bytes: int = MAX_PIXEL_BYTES,
        lossless: bool = False,
        required: bool = False,
    ) -> None:
        if depth < 1:
            raise ValueError("depth must be at least 1")
        self.name, self.required, self.takes_pixels = name, required, sink.takes_pixels
        self._sink, self._events = sink, events
        self._buffer = Buffer(depth, max_pixel_bytes, lossless)
        self._trouble = Trouble(name, sink.recovers, events)
        self._told_at, self._told = float("-inf"), 0
        self._thread = threading.Thread(target=self._work, name=f"rille-sink {name}", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> SinkCounts:
        """The account at this moment."""
        return self._buffer.counts()

    def observe(self, run: RunView) -> None:
        """Tell the sink about the run; call it before the first `write`."""
        self._sink.observe(run)

    def write(self, result: Result) -> None:
        """Take one result, in microseconds; in lossless mode when there is room.

        Raises:
            SinkError: the sink is required, and failed.
        """
        self.put(without_pixels(result) if self.wants_black else result)

    @property
    def wants_black(self) -> bool:
        """Whether a result should lose its pixels first, as it will wait for a sink without use."""
        return not self.takes_pixels and self._buffer.behind

    def put(self, result: Result) -> None:
        """Take one result as `write` does, but as it is."""
        if self.required:
            self._trouble.check()
        size = result.frame.pixels.nbytes if self.takes_pixels and result.frame else 0
        self._buffer.put(result, size, self._works)
        if self._buffer.dropped != self._told:
            self._tell_drops()

    def event(self, event: Event) -> None:
        """Take one event, in microseconds; never waits, whatever the mode."""
        self._buffer.put(event)

    def hurry(self) -> None:
        """Wait for room no longer than 0.3 s from now on; safe in a signal handler."""
        self._buffer.hurry()

    def finish(self) -> None:
        """Take nothing more, and begin to complete the sink; `close` waits for it."""
        self._buffer.close()

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what waits and complete the sink, or give both up after `timeout_s`.

        Raises:
            SinkError: the sink is required, and failed or came to no end.
        """
        self.finish()
        self._thread.join(max(0.0, timeout_s))
        if self._thread.is_alive():
            count = self._buffer.abandon()
            self._trouble.failed(
                SinkError(
                    f"{self.name}: came to no end within {timeout_s:g} s; "
                    f"{count} results and events were given up"
                )
            )
        if self.required:
            self._trouble.check()

    def _works(self) -> bool:
        return not self._trouble.down

    def _work(self) -> None:
        """Hand everything on, until the buffer is closed and empty; then complete the sink."""
        while (thing := self._buffer.take(self._trouble.pause_s())) is not None:
            if self._trouble.dead:
                self._buffer.done(written=False)
                continue
            wrong = self._attempt(thing)
            self._buffer.done(written=wrong is None)
            if wrong is None:
                self._trouble.worked()
            else:
                self._trouble.failed(wrong)
        try:
            self._sink.close()
        except Exception as wrong_end:  # sinks come from other packages too
            self._trouble.failed(wrong_end)

    def _attempt(self, thing: Thing) -> Exception | None:
        """Hand one thing to the sink; return what went wrong."""
        try:
            if isinstance(thing, Result):
                self._sink.write(thing)
            else:
                self._sink.event(thing)
        except Exception as wrong:  # whatever it is, it must not end the thread in silence
            return wrong
        return None

    def _tell_drops(self) -> None:
        """Emit an event about drops, at most once a second."""
        now = time.monotonic()
        if now - self._told_at < _TELL_EVERY_S:
            return
        dropped, self._told_at = self._buffer.dropped, now
        count, self._told = dropped - self._told, dropped
        held_s = self._buffer.held_s()
        why = f"it has not returned for {held_s:.1f} s" if held_s > 1 else "it is too slow"
        self._events.emit(
            "SINK_DROPPED",
            f"{self.name}: {count} results or events dropped; {why}",
            sink=self.name,
            count=count,
            dropped=dropped,
        )


def without_pixels(result: Result) -> Result:
    """Return a result whose frame is black and holds no memory for pixels, nor truth."""
    if result.frame is None:
        return result
    black = np.broadcast_to(_BLACK, result.frame.pixels.shape)
    return replace(result, frame=replace(result.frame, pixels=black, truth=None))
