"""Straight lines through measured points, and the plot of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rille.report.svg import Chart, Point, axis_over, series_colour

_STYLE = (
    "<style>svg{--ink:#1c2230;--dim:#5f6878;--line:#d9dde4;--s1:#2f6fde;--s2:#e08a00;--s3:#2f9e5b;"
    "background:#f6f7f9;font-family:system-ui,sans-serif}@media (prefers-color-scheme:dark){svg{"
    "--ink:#e6e9ef;--dim:#9aa3b2;--line:#313846;--s1:#6ea2ff;--s2:#ffb340;--s3:#4cc47a;"
    "background:#1a1f28}}</style>"
)
_STEPS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """y = start + slope * x, by least squares.

    Attributes:
        start, slope: the coefficients.
        start_error, slope_error: their standard errors; NaN for two points, which leave no rest.
        explained: share of the variance that the line explains (R squared), up to 1.
    """

    start: float
    slope: float
    start_error: float
    slope_error: float
    explained: float

    def __call__(self, x: float) -> float:
        """Return y at x."""
        return self.start + self.slope * x


def fitted(points: Sequence[Point]) -> Line:
    """Return the line through points (x, y).

    Raises:
        ValueError: fewer than two different x.
    """
    x, y = np.asarray(points, np.float64).T
    if len(np.unique(x)) < 2:
        raise ValueError("a line needs two different places")
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread
    start = float(y.mean()) - slope * float(x.mean())
    rest = float(((y - start - slope * x) ** 2).sum())
    whole = float(((y - y.mean()) ** 2).sum())
    variance = rest / (len(x) - 2) if len(x) > 2 else math.nan
    return Line(
        start=start,
        slope=slope,
        start_error=math.sqrt(variance * (1 / len(x) + float(x.mean()) ** 2 / spread)),
        slope_error=math.sqrt(variance / spread),
        explained=1 - rest / whole if whole else 1.0,
    )


def plot(
    words: tuple[str, str],
    measured: dict[str, Sequence[Point]],
    model: Callable[[float], float],
    model_words: str,
) -> str:
    """Return an SVG file: measured points as dots on lines, the model dashed.

    Args:
        words: what x and y are.
        measured: name -> points, up to three series.
        model: y of x.
        model_words: written beside its end.
    """
    everything = [point for points in measured.values() for point in points]
    low, high = min(x for x, _ in everything), max(x for x, _ in everything)
    places = [low + (high - low) * k / _STEPS for k in range(_STEPS + 1)]
    curve = [(x, model(x)) for x in places]
    heights = [y for _, y in (*everything, *curve)]
    across = axis_over(words[0], [x for x, _ in everything])
    chart = Chart(
        replace(across, whole=all(x == round(x) for x, _ in everything)),
        axis_over(words[1], heights, from_zero=True),
        height=320,
    )
    for index, (name, points) in enumerate(measured.items()):
        chart.line(points, series_colour(index), name)
        chart.note(*points[0], name)
    for before, after in zip(curve[::2], curve[1::2], strict=False):
        chart.rule(before, after)
    chart.note(*curve[-8], model_words, anchor="end")
    head = '<svg xmlns="http://www.w3.org/2000/svg" '
    body = chart.svg().removeprefix("<svg ")
    opened, _, rest = body.partition(">")
    return f"{head}{opened}>{_STYLE}{rest}\n"
