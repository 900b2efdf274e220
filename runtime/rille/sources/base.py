"""The contract of a source, and how a URI becomes one."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from rille.errors import ConfigError, FrameDecodeError, SourceNotFoundError, nearest
from rille.frame import Frame
from rille.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rille.frame import Truth

SOURCES = Registry(
    kind="source scheme",
    group="rille.sources",
    known={
        "images": "rille.sources.images:ImageFolder",
        "file": "rille.sources.video:VideoFile",
        "sim": "rille.sources.sim:SimulatedCamera",
    },
)


@dataclass(frozen=True, slots=True)
class SourceUri:
    """A source's URI, taken apart.

    Attributes:
        text: the URI as given.
        scheme: what comes before "://".
        target: host and path, unquoted: a file, a folder, a world's name.
        options: what comes after "?".
    """

    text: str
    scheme: str
    target: str
    options: Mapping[str, str]

    def check_options(self, known: list[str]) -> None:
        """Refuse an option that is not known.

        Raises:
            ConfigError: the option, and the nearest known one.
        """
        for key in self.options:
            if key not in known:
                raise ConfigError(
                    f"{self.text}: no option {key!r}{nearest(key, known)} "
                    f"(known: {', '.join(known)})"
                )

    def number(self, key: str, default: float | None, low: float, high: float) -> float | None:
        """Return a numeric option within [low, high].

        Raises:
            ConfigError: not a number, or out of range.
        """
        if key not in self.options:
            return default
        try:
            value = float(self.options[key])
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ConfigError(
                f"{self.text}: {key} must be a number from {low:g} to {high:g}, "
                f"not {self.options[key]!r}"
            )
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Return an option that is 0 or 1.

        Raises:
            ConfigError: anything else.
        """
        value = self.options.get(key, "1" if default else "0")
        if value not in ("0", "1"):
            raise ConfigError(f"{self.text}: {key} must be 0 or 1, not {value!r}")
        return value == "1"

    def size(self, default: tuple[int, int]) -> tuple[int, int]:
        """Return the option `size`, as in 640x480, in pixels.

        Raises:
            ConfigError: not two whole numbers from 16 to 8192.
        """
        text = self.options.get("size")
        if text is None:
            return default
        parts = text.lower().split("x")
        if len(parts) == 2 and all(p.isdigit() and 16 <= int(p) <= 8192 for p in parts):
            return int(parts[0]), int(parts[1])
        raise ConfigError(f"{self.text}: size must be like 640x480, 16 to 8192 each, not {text!r}")


def parse_uri(text: str) -> SourceUri:
    """Take a source's URI apart; a bare path to a folder or a file is accepted too.

    Raises:
        SourceNotFoundError: no scheme, and no such path.
    """
    if "://" not in text:
        path = Path(text)
        if path.is_dir():
            return SourceUri(text, "images", text, {})
        if path.is_file():
            return SourceUri(text, "file", text, {})
        raise SourceNotFoundError(
            f"{text}: neither a file, a folder nor a source "
            f"(sources look like {', '.join(f'{n}://' for n in SOURCES.names())})"
        )
    parts = urlsplit(text)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    return SourceUri(text, parts.scheme, unquote(parts.netloc + parts.path), options)


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
    source.open()
    return source


class Source(ABC):
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
    """

    def __init__(self, uri: SourceUri, fps: float | None) -> None:
        self.uri = uri
        self.fps = fps
        self.realtime = fps is not None
        self.index = 0
        self.ended = False
        self._start_ns: int | None = None

    @property
    def length(self) -> int | None:
        """Number of frames in all, or None where that is not known."""
        return None

    def open(self) -> None:  # noqa: B027  (nothing to do for some sources)
        """Acquire what is needed; see `open_source`."""

    def close(self) -> None:  # noqa: B027
        """Let go of everything; safe to call twice."""

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

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
