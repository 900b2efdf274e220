"""Telling a supervisor where each frame ended, once its record is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rille.sinks.base import RunView, Sink

if TYPE_CHECKING:
    from rille.events import Event
    from rille.health.beats import Heartbeats
    from rille.result import Result


class CountedSink(Sink):
    """Another sink, whose results are counted in a supervisor's memory when it has taken them.

    What a crash takes away before it was written is thus counted as lost. A crash between a record
    and its count leaves that one frame counted as lost although it is there.

    Args:
        beats: the memory.
        sink: takes everything first; None to count alone.
    """

    def __init__(self, beats: Heartbeats, sink: Sink | None = None) -> None:
        self._beats, self._sink = beats, sink
        self.takes_pixels = sink is not None and sink.takes_pixels
        self.recovers = sink is not None and sink.recovers

    def write(self, result: Result) -> None:
        """Take one result, then count it."""
        if self._sink is not None:
            self._sink.write(result)
        self._beats.ended(result.state.value)

    def event(self, event: Event) -> None:
        """Take one event."""
        if self._sink is not None:
            self._sink.event(event)

    def observe(self, run: RunView) -> None:
        """Take note of the run."""
        if self._sink is not None:
            self._sink.observe(run)

    def close(self) -> None:
        """Complete the output."""
        if self._sink is not None:
            self._sink.close()
