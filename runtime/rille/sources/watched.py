"""A source whose reads give signs of life and count what was captured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rille.errors import FrameDecodeError
from rille.health.beats import Heartbeats
from rille.sources.base import Source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rille.frame import Frame, Truth
    from rille.vehicle import Vehicle


class WatchedSource(Source):
    """Another source, watched: in every other way it is that source.

    Args:
        source: open.
        beats: gets the heartbeat "capture" ("first" until there was a frame) while somebody waits
            in `read`, and the frames captured, those included that were captured and replaced
            before anybody took them.
        camera: its number among several, which its heartbeats are then named by; 0 where there is
            one.
    """

    def __init__(self, source: Source, beats: Heartbeats, camera: int = 0) -> None:
        # Source.__init__ is not called: what it would set is the other one's, by __getattr__.
        self._source = source
        self._beats = beats
        self._first = source.index
        self._camera = camera
        self._heartbeat = self._named("first")

    def __getattr__(self, name: str) -> Any:
        if name == "_source":  # while this object is being made or copied
            raise AttributeError(name)
        return getattr(self._source, name)

    def read(self, timeout_s: float) -> Frame | None:
        """Return the source's next frame; see `Source.read`."""
        with self._beats.busy(self._heartbeat):
            try:
                frame = self._source.read(timeout_s)
            except FrameDecodeError as wrong:
                self._count(wrong.index)
                raise
        if frame is not None:
            self._count(frame.index)
        return frame

    def _count(self, index: int) -> None:
        self._heartbeat = self._named("capture")
        self._beats.captured(index + 1 - self._first, self._camera)

    def _named(self, kind: str) -> str:
        return f"{kind} {self._camera}" if self._camera else kind

    @property
    def length(self) -> int | None:
        """Number of frames in all, or None where that is not known."""
        return self._source.length

    def open(self) -> None:
        """Open the source."""
        self._source.open()

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def vehicle(self, index: int, name: str) -> Vehicle | None:
        """Return what the vehicle knows now about a frame of the source."""
        return self._source.vehicle(index, name)

    def describe(self) -> str:
        """Return the source's one line for people."""
        return self._source.describe()

    def _next(self) -> tuple[NDArray[np.uint8], str, int | None, Truth | None] | None:
        return self._source._next()
