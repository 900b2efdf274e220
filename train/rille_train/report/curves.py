"""Learning curves: every series of the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rille.report.svg import Axis, Chart, Point, axis_over, legend, series_colour

_SCORE = "val_"


def learning_curves(
    history: Mapping[str, Sequence[float]], final: Mapping[str, float], every: int
) -> str:
    """Return charts of the losses, of the validation scores, and of whatever else was logged.

    Args:
        history: series by name, as Keras logs them; a value an epoch, or one a validation.
        final: scores of the final weights, which end the curves of the scores.
        every: epochs between two validations.
    """
    epochs = max((len(values) for values in history.values()), default=0)
    if not epochs:
        return "<p>No epoch was logged.</p>"
    charts = []
    for title, names in _families(history).items():
        series = {
            name.removeprefix(_SCORE): _points(name, history[name], final, every, epochs)
            for name in names
        }
        charts.append(f"<h3>{title}</h3>{_chart(series, title, epochs)}")
    return "".join(charts)


def _families(history: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the names of the series by what they measure."""
    families: dict[str, list[str]] = {}
    for name in sorted(history):
        score = name.startswith(_SCORE) and "loss" not in name
        title = "validation score" if score else "loss" if "loss" in name else name
        families.setdefault(title, []).append(name)
    return families


def _points(
    name: str, values: Sequence[float], final: Mapping[str, float], every: int, epochs: int
) -> list[Point]:
    """Return (epoch, value); scores are taken every few epochs and once more at the end."""
    step = 1 if len(values) == epochs or name.startswith("head_") else every
    points = [((k + 1.0) * step, float(value)) for k, value in enumerate(values)]
    last = final.get(name.removeprefix(_SCORE))
    if name.startswith(_SCORE) and last is not None and len(values) < epochs:
        points.append((float(epochs), float(last)))
    return points


def _chart(series: Mapping[str, list[Point]], title: str, epochs: int) -> str:
    values = [y for points in series.values() for _, y in points]
    chart = Chart(Axis("epoch", 0.5, epochs + 0.5, whole=True), axis_over(title, values))
    for k, (name, points) in enumerate(series.items()):
        chart.line(points, series_colour(k), name)
    return f'<p class="sub">{legend(list(series))}</p>{chart.svg()}'
