"""The contract of a source, and how a URI becomes one."""

from __future__ import annotations

import contextlib
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rille.capture import MODULES
from rille.closing import Closing
from rille.errors import FrameDecodeError, SourceNotFoundError
from rille.frame import Frame
from rille.registry import Registry
from rille.sources.feed import VehicleFeed, feed_of
from rille.uri import SourceUri, split_uri

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rille.frame import Truth
    from rille.vehicle import Vehicle

SOURCES = Registry(
    kind="source scheme",
    group="rille.sources",
    known={
        "images": "rille.sources.images:ImageFolder",
        "file": "rille.sources.video:VideoFile",
        "mcap": "rille.sources.mcap:RecordingSource",
        "sim": "rille.sources.sim:SimulatedCamera",
        **dict.fromkeys(MODULES, "rille.sources.live:LiveSource"),
    },
)


def parse_uri(text: str) -> SourceUri:
    """Take a source's URI apart; a bare path to a folder or a file is accepted too.

    Raises:
        SourceNotFoundError: no scheme, and no such path.
    """
    if "://" not in text:
        path = Path(text)
        with contextlib.suppress(OSError):  # no name that a file could have
            if path.is_dir():
                return SourceUri(text, "images", text, {})
            if path.is_file():
                return SourceUri(text, "file", text, {})
        raise SourceNotFoundError(
            f"{text}: neither a file, a folder nor a source "
            f"(sources look like {', '.join(f'{n}://' for n in SOURCES.names())})"
        )
    return split_uri(text)


def open_source(uri: str) -> Source:
    """Open a source of frames.

    Args:
        uri: for example `sim://moon?seed=7&fps=10`, `images://tiles`, `file://drive.mp4`; a plain
            path of a folder or a video works as well. `fps` makes a recording play in real time.

    Raises:
        SourceNotFoundError: no such scheme, file or folder.
        ConfigError: an option that is unknown or out of range.
        SourceError: it exists but gives no frames.
    """
    parsed = parse_uri(uri)
    source: Source = SOURCES.resolve(parsed.scheme, SourceNotFoundError)(parsed)
    try:
        source.feed = feed_of(parsed)
        source.open()
    except BaseException:
        source.close()
        raise
    return source


@dataclass(frozen=True, slots=True)
class SourceEvent:
    """Something that happened to a source.

    Attributes:
        at_ns: monotonic time.
        kind: "connected", "trouble", "stalled", "ended" (its process did) or "returned".
        text: what is known of it.
    """

    at_ns: int
    kind: str
    text: str


class Source(Closing):
    """A stream of frames. Use it as a context manager, or call `close`.

    Subclasses take a `SourceUri` and give pictures by `_next`; numbering, pacing and time stamps
    are done here, once.

    Args:
        uri: the URI.
        fps: frames a second in real time; None to give a frame whenever one is asked for.

    Attributes:
        uri: the URI.
        realtime: whether frames come at their own pace and may be lost by a slow reader.
        index: the index of the next frame.
        ended: whether no more frames will come.
        events: what happened to it, oldest first; the last 1000.
        feed: what the vehicle says while it drives, where the option `vehicle` asks for that.
    """

    def __init__(self, uri: SourceUri, fps: float | None) -> None:
        self.uri = uri
        self.fps = fps
        self.realtime = fps is not None
        self.index = 0
        self.ended = False
        self.events: deque[SourceEvent] = deque(maxlen=1000)
        self.feed: VehicleFeed | None = None
        self._start_ns: int | None = None

    @property
    def length(self) -> int | None:
        """Number of frames in all, or None where that is not known."""
        return None

    def open(self) -> None:
        """Acquire what is needed; see `open_source`."""

    def close(self) -> None:
        """Let go of everything; safe to call twice. Subclasses call this one too."""
        if self.feed is not None:
            self.feed.close()

    def vehicle(self, index: int, name: str) -> Vehicle | None:
        """Return what the vehicle knows now about a frame: from its feed, or else from the source.

        With the option `vehicle=0` nothing is known.
        """
        if self.feed is not None:
            return self.feed.newest(time.monotonic_ns())
        return self._own_vehicle(index, name) if self.uri.options.get("vehicle") != "0" else None

    def _own_vehicle(self, index: int, name: str) -> Vehicle | None:
        """Return what the source itself knows about a frame."""
        return None

    @abstractmethod
    def describe(self) -> str:
        """Return one line for people: what this is, how large, how fast."""

    @abstractmethod
    def _next(self) -> tuple[NDArray[np.uint8], str, int | None, Truth | None] | None:
        """Return the next picture, its name, its own time stamp and its truth; None at the end.

        Raises:
            FrameDecodeError: this one cannot be decoded; the next may.
        """

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next frame, or None if there is none within `timeout_s` or at the end.

        In real time a frame is due at its own moment, counted from the first; its capture time is
        the moment it is given out.

        Raises:
            FrameDecodeError: one frame was lost to a damaged file; reading may go on.
            SourceError: the source as a whole failed.
        """
        if self.ended or not self._due(timeout_s):
            return None
        index = self.index
        try:
            found = self._next()
            if found is None:
                self.ended = True
                return None
            self._wait_for(index)
            pixels, name, source_ns, truth = found
            frame = Frame(
                pixels=pixels,
                index=index,
                captured_ns=time.monotonic_ns(),
                name=name,
                source_ns=source_ns,
                truth=truth,
                vehicle=self.vehicle(index, name),
            )
        except FrameDecodeError as wrong:
            wrong.index, self.index = index, index + 1
            raise
        self.index = index + 1
        return frame

    def _due(self, timeout_s: float) -> bool:
        """Wait until the next frame is nearly due, at most `timeout_s`; say whether it is."""
        if self.fps is None or self._start_ns is None:
            return True
        lead_s = 1.0 / self.fps
        ahead_s = (self._moment(self.index) - time.monotonic_ns()) / 1e9 - lead_s
        if ahead_s > timeout_s:
            time.sleep(timeout_s)
            return False
        if ahead_s > 0:
            time.sleep(ahead_s)
        return True

    def _wait_for(self, index: int) -> None:
        """Wait for the moment of a frame that is ready; a late one moves the later ones along."""
        if self.fps is None:
            return
        now = time.monotonic_ns()
        if self._start_ns is None:
            self._start_ns = now - round(index * 1e9 / self.fps)
        ahead_ns = self._moment(index) - now
        if ahead_ns > 0:
            time.sleep(ahead_ns / 1e9)
        elif ahead_ns < -1e9 / self.fps:
            self._start_ns -= ahead_ns

    def _moment(self, index: int) -> int:
        assert self._start_ns is not None and self.fps is not None
        return self._start_ns + round(index * 1e9 / self.fps)

    def __iter__(self) -> Iterator[Frame]:
        """Give every frame that can be decoded, waiting as long as it takes."""
        while not self.ended:
            try:
                frame = self.read(1.0)
            except FrameDecodeError:
                continue
            if frame is not None:
                yield frame
