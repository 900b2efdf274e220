"""The bench looks at itself: what its links cost without a device, and what its eyes misread."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rille.errors import FrameDecodeError
from rille.hil.feed import FrameHost
from rille.hil.links import open_link
from rille.hil.pictures import pictures_of
from rille.hil.scenario import Scenario
from rille.hil.upset import SkippedError
from rille.hil.vocabulary import LINKS
from rille.sources import open_source

_FPS = 30.0
_PATIENCE_S = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTest:
    """What one link did without a device.

    Attributes:
        link: which.
        sent, arrived, misread: frames; a misread one has a barcode that cannot be read, or that
            names a frame which was not sent.
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


def selftest(folder: Path, frames: int = 150) -> list[SelfTest]:
    """Send frames over each link into the product's own readers, without networks.

    Args:
        folder: where links may put files; made if needed.
        frames: over each link, at 30 a second.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder):
        return [_measure(link, frames) for link in LINKS]


def _measure(kind: str, frames: int) -> SelfTest:
    scenario = Scenario(name="selftest", fps=_FPS, frames=frames)
    pictures = pictures_of(scenario.source)
    try:
        link = open_link(kind, pictures[0], scenario, None)
    except SkippedError as wrong:
        return SelfTest(link=kind, skipped=str(wrong))
    host, sent = FrameHost(scenario, pictures), dict[int, int]()
    heard: list[float] = []
    misread = 0
    with link, open_source(link.uri) as source:
        begun = False
        start, turn, first = time.monotonic_ns(), 0, 0
        while host.number < first + frames or not begun:
            if not begun and (time.monotonic_ns() - start) / 1e9 > _PATIENCE_S:
                return SelfTest(link=kind, skipped="no frame came through; see the link's needs")
            due = start + round(turn * 1e9 / _FPS)
            for frame in host.turn(turn, 0.0):
                sent[frame.number] = time.monotonic_ns()
                link.send(frame, ())
            turn += 1
            while time.monotonic_ns() < due + 1e9 / _FPS:
                try:
                    found = source.read(0.005)
                except FrameDecodeError:
                    misread += 1
                    continue
                if found is None:
                    continue
                now, number = time.monotonic_ns(), int(found.name.split()[1])
                if not begun:
                    begun, first, heard, misread = True, host.number, [], 0
                elif number >= first:
                    misread += number not in sent
                    heard.append((now - sent.get(number, now)) / 1e6)
    p50, p95, most = (float(np.quantile(heard, q)) for q in (0.5, 0.95, 1.0))
    return SelfTest(
        link=kind,
        sent=frames,
        arrived=len(heard),
        misread=misread,
        p50_ms=p50,
        p95_ms=p95,
        max_ms=most,
    )
