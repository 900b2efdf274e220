"""`mcap://FILE`: the frames of a recording, rille's own or another's.

Options: `fps` (play in real time at this rate), `speed` (play in real time as it was recorded, so
many times as fast), `topic` (which images, where there are several), `limit`, and `vehicle` of
every source. Without `fps` and `speed` a frame is given whenever one is asked for. Frames keep the
indices and the camera's time stamps of the recording; those of rille's own also carry what the
vehicle knew.

Of other programs' files, channels of `foxglove.CompressedImage` and `foxglove.RawImage` can be
played, in Protocol Buffers or JSON. ROS messages cannot, nor video.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rille.capture import VEHICLE
from rille.errors import ConfigError
from rille.recording import open_recording
from rille.recording.images import find_images, read_images
from rille.recording.topics import IMAGE
from rille.sources.base import Source
from rille.uri import SourceUri

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from rille.frame import Frame, Truth
    from rille.vehicle import Vehicle

_DEFAULT_FPS = 10.0


def _unknown() -> None:
    """Return that nothing is known about a frame of another program's recording."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """The next frame, not yet decoded."""

    index: int
    at_ns: int
    name: str
    source_ns: int | None
    decode: Callable[[], NDArray[np.uint8]]
    vehicle: Callable[[], Vehicle | None] = _unknown


class RecordingSource(Source):
    """The frames of one MCAP file; an image that is damaged fails as one frame."""

    def __init__(self, uri: SourceUri) -> None:
        uri.check_options(["fps", "speed", "topic", "limit", *VEHICLE])
        fps = uri.number("fps", None, 0.01, 1000)
        self._speed = uri.number("speed", None, 0.01, 1000)
        if fps is not None and self._speed is not None:
            raise ConfigError(f"{uri.text}: fps and speed contradict each other; leave one out")
        super().__init__(uri, fps)
        self._path = Path(uri.target)
        self._topic = uri.options.get("topic", "")
        limit = uri.number("limit", None, 1, 1e9)
        self._left = None if limit is None else int(limit)
        self._frames: Iterator[_Pending] = iter(())
        self._pending: _Pending | None = None
        self._first: _Pending | None = None
        self._at_ns = 0
        self._taken = False

    def open(self) -> None:
        """Find the images and read the first."""
        own, self._topic = self._choose()
        if self._speed is not None:
            self.fps, self.realtime = self._rate(own) * self._speed, True
        self._frames = self._recorded() if own else self._foreign()
        self._advance()
        self._first = self._pending
        if self._pending is None:
            self.ended = True
        else:
            self.index = self._pending.index

    def describe(self) -> str:
        """Return file, topic and pace."""
        pace = f"{self.fps:.3g} frames/s" if self.fps else "one after the other"
        return f"recording {self._path}, {self._topic}, {pace}"

    def close(self) -> None:
        """Let go of the file."""
        self._frames = iter(())

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next frame under its own index; see `Source.read`."""
        if self._taken:
            self._taken = False
            self._advance()
        if self._pending is not None:
            self.index, self._at_ns = self._pending.index, self._pending.at_ns
        return super().read(timeout_s)

    def _choose(self) -> tuple[bool, str]:
        """Return whether the file is rille's own, and the topic to play.

        Raises:
            ConfigError: which one is not clear, or it is not there.
        """
        found = find_images(self._path)
        there = ", ".join(found.topics)
        if self._topic and self._topic not in found.topics:
            raise ConfigError(f"{self.uri.text}: no images on {self._topic} (there: {there})")
        if found.own and self._topic in ("", IMAGE):
            return True, IMAGE
        if not self._topic and len(found.topics) > 1:
            raise ConfigError(f"{self.uri.text}: choose one with topic=: {there}")
        return False, self._topic or found.topics[0]

    def _recorded(self) -> Iterator[_Pending]:
        for frame in open_recording(self._path).frames():
            if frame.image is not None:
                record = frame.record
                yield _Pending(
                    frame.index,
                    _whole(record.get("captured_ns")) or 0,
                    str(record.get("name", "")),
                    _whole(record.get("source_ns")),
                    frame.pixels,
                    frame.vehicle,
                )

    def _foreign(self) -> Iterator[_Pending]:
        for index, (at_ns, decode) in enumerate(read_images(self._path, self._topic)):
            yield _Pending(index, at_ns, f"{self._topic} {index}", at_ns, decode)

    def _rate(self, own: bool) -> float:
        """Return the rate of the first two frames."""
        frames = self._recorded() if own else self._foreign()
        first, second = next(frames, None), next(frames, None)
        if first is None or second is None or second.at_ns <= first.at_ns:
            return _DEFAULT_FPS
        return 1e9 / (second.at_ns - first.at_ns)

    def _advance(self) -> None:
        self._pending = None if self._left == 0 else next(self._frames, None)
        if self._left is not None:
            self._left -= 1

    def _next(self) -> tuple[NDArray[np.uint8], str, int | None, Truth | None] | None:
        pending = self._pending
        if pending is None:
            return None
        self._taken = True
        return pending.decode(), pending.name, pending.source_ns, None

    def _own_vehicle(self, index: int, name: str) -> Vehicle | None:
        return self._pending.vehicle() if self._pending is not None else None

    def _moment(self, index: int) -> int:
        """Return when a frame is due: at its own time, where that is played."""
        if self._speed is None or self._first is None or not self.fps:
            return super()._moment(index)
        begun = super()._moment(self._first.index)
        return begun + round((self._at_ns - self._first.at_ns) / self._speed)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
