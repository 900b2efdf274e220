"""A sink that tells a supervisor where each frame ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rille.health.beats import Heartbeats
    from rille.result import Result


class FrameCount:
    """Counts results by state in a supervisor's memory; put it last, behind the sinks that write.

    A crash between a line that was written and its count leaves that one frame counted as lost.

    Args:
        beats: the memory.
    """

    def __init__(self, beats: Heartbeats) -> None:
        self._beats = beats

    def write(self, result: Result) -> None:
        """Count one result."""
        self._beats.ended(result.state.value)

    def close(self) -> None:
        """Nothing is left to do."""
