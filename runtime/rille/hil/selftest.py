"""The bench looks at itself: what its links cost without a device, and what its eyes misread."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rille.errors import FrameDecodeError
from rille.hil.feed import FrameHost
from rille.hil.links import open_link
from rille.hil.pictures import pictures_of
from rille.hil.scenario import DEFAULT_SOURCE, Scenario
from rille.hil.upset import SkippedError
from rille.hil.vocabulary import LINKS
from rille.sources import open_source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.frame import Frame
    from rille.hil.link import Link
    from rille.sources import Source

_FPS = 30.0
_PATIENCE_S, _ON_ITS_WAY_S = 20.0, 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTest:
    """What one link did without a device.

    Attributes:
        link: which.
        sent, arrived, misread: frames; a misread one has a barcode that cannot be read, that names
            a frame which was not sent, or over a link without loss another picture.
        p50_ms, p95_ms, max_ms: from the bench's hand into the hand of a reader, which is the
            product's own.
        skipped: why it was not measured; empty where it was.
    """

    link: str
    sent: int = 0
    arrived: int = 0
    misread: int = 0
    p50_ms: float = float("nan")
    p95_ms: float = float("nan")
    max_ms: float = float("nan")
    skipped: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing was misread, and most arrived; skipped links pass."""
        return bool(self.skipped) or (not self.misread and self.arrived > self.sent // 2)

    def __str__(self) -> str:
        if self.skipped:
            return f"{self.link:8s} SKIPPED: {self.skipped}"
        return (
            f"{self.link:8s} {self.arrived} of {self.sent} frames, {self.misread} misread; there: "
            f"p50 {self.p50_ms:.1f} p95 {self.p95_ms:.1f} max {self.max_ms:.1f} ms"
        )


def selftest(frames: int = 150, source: str = DEFAULT_SOURCE) -> list[SelfTest]:
    """Send frames over each link into the product's own readers, without networks.

    Args:
        frames: over each link, at 30 a second.
        source: where pictures come from; see `Scenario`.
    """
    return [_measure(link, frames, source) for link in LINKS]


def _measure(kind: str, frames: int, uri: str) -> SelfTest:
    """Return what one link does."""
    scenario = Scenario(name="selftest", source=uri, fps=_FPS, frames=frames)
    pictures = pictures_of(uri)
    try:
        link = open_link(kind, pictures[0], scenario, None)
    except SkippedError as wrong:
        return SelfTest(link=kind, skipped=str(wrong))
    with link, open_source(link.uri) as source:
        watch = _Watch(link, source, FrameHost(scenario, pictures), pictures)
        if watch.connect():
            watch.forget()
            watch.show(frames)
            watch.drain()
    return watch.outcome(kind)


class _Watch:
    """Both ends of a link: shows frames on one, and takes them from the other.

    Args:
        link, source: its ends.
        host: makes the frames.
        pictures: what they show.
    """

    def __init__(
        self, link: Link, source: Source, host: FrameHost, pictures: Sequence[NDArray[np.uint8]]
    ) -> None:
        self._link, self._source, self._host, self._pictures = link, source, host, pictures
        self._sent: dict[int, tuple[int, int]] = {}
        self._delays_ms: list[float] = []
        self._misread = self._turn = self._first = 0

    def connect(self) -> bool:
        """Show frames until one is through; return whether one was."""
        end = time.monotonic() + _PATIENCE_S
        while not self._delays_ms and time.monotonic() < end:
            self._show_one()
        return bool(self._delays_ms)

    def forget(self) -> None:
        """Begin to count; what is still on its way is not counted.

        Without a pause, which the reader would take for a stall.
        """
        self._first = self._host.number
        self._sent, self._delays_ms, self._misread = {}, [], 0

    def show(self, frames: int) -> None:
        """Show so many frames."""
        for _ in range(frames):
            self._show_one()

    def drain(self) -> None:
        """Take what is still on its way."""
        self._take(time.monotonic() + _ON_ITS_WAY_S)

    def _show_one(self) -> None:
        end = time.monotonic() + 1 / _FPS
        for frame in self._host.turn(self._turn, 0.0):
            self._sent[frame.number] = (time.monotonic_ns(), frame.picture)
            self._link.send(frame, ())
        self._turn += 1
        self._take(end)

    def _take(self, end: float) -> None:
        """Take what comes until a moment."""
        while time.monotonic() < end:
            try:
                frame = self._source.read(0.005)
            except FrameDecodeError:
                self._misread += 1
                continue
            if frame is not None:
                self._look_at(frame)

    def _look_at(self, frame: Frame) -> None:
        """Note how long a frame took, and whether it is the one that its barcode names."""
        now, number = time.monotonic_ns(), int(frame.name.split()[1])
        known = self._sent.get(number)
        if known is None:
            self._misread += number >= self._first
            return
        at_ns, picture = known
        self._delays_ms.append((now - at_ns) / 1e6)
        shown = self._pictures[picture]
        self._misread += self._link.lossless and not np.array_equal(frame.pixels, shown)

    def outcome(self, kind: str) -> SelfTest:
        """Return the figures."""
        delays = self._delays_ms or [float("nan")]
        p50, p95, most = (float(np.quantile(delays, share)) for share in (0.5, 0.95, 1.0))
        return SelfTest(
            link=kind,
            sent=len(self._sent),
            arrived=len(self._delays_ms),
            misread=self._misread,
            p50_ms=p50,
            p95_ms=p95,
            max_ms=most,
        )
