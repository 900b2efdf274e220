"""Charts as inline SVG: lines, bars, a matrix. No script, no library, nothing fetched."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

Point = tuple[float, float]
SERIES = 6
"""Colours there are; later series take them again."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a chart.

    Attributes:
        words: what it measures.
        low, high: its limits.
        whole: whether only whole numbers are marked.
        marked: whether numbers are written beside it.
    """

    words: str
    low: float
    high: float
    whole: bool = False
    marked: bool = True

    def ticks(self, about: int = 5) -> list[float]:
        """Return round numbers inside the limits, about as many as asked for; none unmarked."""
        if not self.marked:
            return []
        span = self.high - self.low
        rough = span / about
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * 0.9)
        step = max(1.0, round(step)) if self.whole else step
        first = math.ceil(self.low / step - 1e-9)
        return [k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def axis_over(words: str, values: Sequence[float], *, from_zero: bool = False) -> Axis:
    """Return an axis that holds all values with some room; at least as long as 1e-6."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    low = min(0.0, low) if from_zero else low
    room = max(0.05 * (high - low), 1e-6)
    return Axis(words, low if from_zero else low - room, high + room)


@dataclass(slots=True)
class Chart:
    """A chart under construction: axes first, then whatever is added, in drawing order.

    Attributes:
        x, y: the axes.
        width, height: size in SVG units, axes included.
        parts: SVG elements added so far.
    """

    x: Axis
    y: Axis
    width: int = 960
    height: int = 260
    parts: list[str] = field(default_factory=list)

    _LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 12, 42

    def at(self, x: float, y: float) -> Point:
        """Return where a point of the data lies, in SVG units."""
        across = (x - self.x.low) / (self.x.high - self.x.low)
        up = (y - self.y.low) / (self.y.high - self.y.low)
        wide = self.width - self._LEFT - self._RIGHT
        tall = self.height - self._TOP - self._BOTTOM
        return self._LEFT + across * wide, self.height - self._BOTTOM - up * tall

    def line(self, points: Sequence[Point], colour: str, name: str, dots: bool = True) -> None:
        """Add a line through points, each with its figures shown under the pointer."""
        path = " ".join("{:.1f},{:.1f}".format(*self.at(x, y)) for x, y in points)
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        for x, y in points if dots else ():
            cx, cy = self.at(x, y)
            self.parts.append(
                f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="3.2" fill="{colour}"><title>'
                f"{html.escape(name)}: {x:.4g}, {y:.4g}</title></circle>"
            )

    def rule(self, start: Point, end: Point) -> None:
        """Add a dashed line between two points of the data."""
        (x1, y1), (x2, y2) = self.at(*start), self.at(*end)
        self.parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            'stroke="var(--dim)" stroke-dasharray="5 4"/>'
        )

    def bar(self, low: float, high: float, value: float, colour: str, words: str) -> None:
        """Add a bar from 0 to a value over [low, high) of the x axis."""
        (x1, y1), (x2, y2) = self.at(low, max(self.y.low, 0.0)), self.at(high, value)
        self.parts.append(
            f'<rect x="{x1 + 1:.1f}" y="{y2:.1f}" width="{max(x2 - x1 - 2, 0.5):.1f}" '
            f'height="{max(y1 - y2, 0):.1f}" rx="2" fill="{colour}"><title>{html.escape(words)}'
            "</title></rect>"
        )

    def note(self, x: float, y: float, words: str, *, anchor: str = "start") -> None:
        """Write words beside a point of the data."""
        at_x, at_y = self.at(x, y)
        shift = 7 if anchor == "start" else -7
        self.parts.append(_text(at_x + shift, at_y - 7, words, anchor, "var(--ink)"))

    def svg(self) -> str:
        """Return the finished chart."""
        label = html.escape(f"{self.y.words} over {self.x.words}")
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{label}">'
            f"{self._grid()}{''.join(self.parts)}</svg>"
        )

    def _grid(self) -> str:
        parts = []
        left, bottom = self.at(self.x.low, self.y.low)
        right, top = self.at(self.x.high, self.y.high)
        for value in self.y.ticks(5 if self.height > 200 else 2):
            _, y = self.at(self.x.low, value)
            parts.append(
                f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
            )
            parts.append(_text(left - 7, y + 4, f"{value:.4g}", "end"))
        for value in self.x.ticks(8 if self.width > 600 else 5):
            x, _ = self.at(value, self.y.low)
            parts.append(_text(x, bottom + 16, f"{value:.4g}", "middle"))
        middle = (left + right) / 2
        parts.append(_text(middle, self.height - 8, self.x.words, "middle"))
        parts.append(
            f'<text transform="translate(14 {(top + bottom) / 2:.0f}) rotate(-90)" '
            'text-anchor="middle" font-size="12" fill="var(--dim)">'
            f"{html.escape(self.y.words)}</text>"
        )
        return "".join(parts)


def series_colour(index: int) -> str:
    """Return the colour of the k-th series of a chart."""
    return f"var(--s{index % SERIES + 1})"


def legend(names: Sequence[str]) -> str:
    """Return a line that says which colour is which series."""
    return " ".join(
        f'<span class="key"><span style="color:{series_colour(k)}">&#9632;</span> '
        f"{html.escape(name)}</span>"
        for k, name in enumerate(names)
    )


def matrix(
    names: Sequence[str], texts: Sequence[Sequence[str]], shares: Sequence[Sequence[float]]
) -> str:
    """Return a square table as a heat map, truth down and answer across.

    Args:
        names: name of each row and column.
        texts: what is written into each cell; an empty text leaves the cell out.
        shares: the depth of each cell's colour, 0 to 1.
    """
    side, margin, head = min(40.0, 770 / len(names)), 176, 132
    parts = []
    for k, name in enumerate(names):
        middle = (k + 0.5) * side
        short = name if len(name) <= 24 else f"{name[:23]}…"
        parts.append(_text(margin - 8, head + middle + 4, short, "end", "var(--ink)"))
        parts.append(
            f'<text transform="translate({margin + middle + 4:.1f} {head - 8}) rotate(-52)" '
            f'font-size="12" fill="var(--ink)">{html.escape(short)}</text>'
        )
    whole = side * len(names)
    for k in range(len(names) + 1):
        x, y = margin + k * side, head + k * side
        parts.append(_thin(margin, y, margin + whole, y) + _thin(x, head, x, head + whole))
    for row, (cells, depths) in enumerate(zip(texts, shares, strict=True)):
        for column, (text, share) in enumerate(zip(cells, depths, strict=True)):
            if not text:
                continue
            x, y = margin + column * side, head + row * side
            words = f"{names[row]}, answered {names[column]}: {text}"
            parts.append(_cell(x, y, side, share, text, words))
    width, height = max(960.0, margin + whole + 90), head + whole + 8
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="confusion matrix">'
        f"{''.join(parts)}</svg>"
    )


def _cell(x: float, y: float, side: float, share: float, text: str, words: str) -> str:
    ink = "var(--back)" if share > 0.3 else "var(--ink)"
    # The root shows rare confusions, which a linear scale would hide.
    return (
        f"<g><title>{html.escape(words)}</title>"
        f'<rect x="{x + 0.5:.1f}" y="{y + 0.5:.1f}" width="{side - 1:.1f}" '
        f'height="{side - 1:.1f}" fill="var(--accent)" fill-opacity="{math.sqrt(share):.3f}"/>'
        f'<text x="{x + side / 2:.1f}" y="{y + side / 2 + 4:.1f}" font-size="11" '
        f'text-anchor="middle" fill="{ink}">{text}</text></g>'
    )


def _thin(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="var(--line)"/>'


def _text(x: float, y: float, words: str, anchor: str, colour: str = "var(--dim)") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" text-anchor="{anchor}" '
        f'fill="{colour}">{html.escape(words)}</text>'
    )
