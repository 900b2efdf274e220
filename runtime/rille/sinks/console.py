"""The live line on a terminal: rate, age, level, misses, drops, and how far along."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import TextIO

from rille.result import Result
from rille.sinks.base import Sink
from rille.stats import PipelineStats


class Console(Sink):
    """Shows a run while it goes.

    On a terminal one line is rewritten up to ten times a second; elsewhere a line is written every
    ten seconds, so that a log stays readable.

    Args:
        stats: the pipeline's figures.
        length: frames in all, if known: then a progress bar is shown.
        stream: where to write; stderr by default, as words are for people.
        label: the camera, where there are several: no line is rewritten then.
    """

    takes_pixels = False

    def __init__(
        self,
        stats: PipelineStats,
        length: int | None,
        stream: TextIO | None = None,
        label: str = "",
    ) -> None:
        self._stats, self._length = stats, length
        self._stream = stream or sys.stderr
        self._label = f"{label}: " if label else ""
        self._live = self._stream.isatty() and not label
        self._recent: deque[float] = deque(maxlen=32)
        self._level = "-"
        self._shown = time.monotonic()

    def write(self, result: Result) -> None:
        """Take one result, and refresh the line if it is time."""
        now = time.monotonic()
        if result.published:
            self._recent.append(now)
            self._level = result.level
        if now - self._shown >= (0.1 if self._live else 10.0):
            self._shown = now
            self._show()

    def close(self) -> None:
        """Show the last state and end the line."""
        if self._recent:
            self._show()
        if self._live:
            self._stream.write("\n")
            self._stream.flush()

    def line(self) -> str:
        """Return the line as it stands."""
        totals, age = self._stats.totals, self._stats.age
        rate = 0.0
        if len(self._recent) > 1 and self._recent[-1] > self._recent[0]:
            rate = (len(self._recent) - 1) / (self._recent[-1] - self._recent[0])
        bar = ""
        if self._length:
            share = min(1.0, totals.captured / self._length)
            full = round(20 * share)
            bar = f"[{'#' * full}{'.' * (20 - full)}] {totals.captured}/{self._length}  "
        ages = (
            f"age p50 {age.percentile(0.5):.1f} p95 {age.percentile(0.95):.1f} ms"
            if age.count
            else "no result yet"
        )
        return (
            f"{self._label}{bar}{rate:.1f} fps  {ages}  {self._level}  "
            f"late {totals.late}  dropped {totals.dropped}  failed {totals.failed}"
        )

    def _show(self) -> None:
        self._stream.write(f"\r\x1b[2K{self.line()}" if self._live else f"{self.line()}\n")
        self._stream.flush()
