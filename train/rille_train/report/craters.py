"""A segmenter's part of the page: objects by diameter, Dice by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rille.report.svg import Axis, Chart, axis_over

_BINS = 20


def crater_tables(detail: Mapping[str, Any]) -> str:
    """Return the table of diameters and the histogram of Dice.

    Args:
        detail: content of `validation.json`.
    """
    if "by_diameter" not in detail:
        return "<p>Sizes are not in this run's validation.json; score it again to have them.</p>"
    by_image = detail["by_image"]
    return (
        f"<h2>Craters by diameter</h2>{_diameters(detail['by_diameter'])}"
        f'<h2>Dice by image</h2><p class="sub">Mean {by_image["dice_mean"]:.4f}, median '
        f"{by_image['dice_median']:.4f} over {len(by_image['dice'])} images; an image without "
        f"craters and without answers counts 1.</p>{_histogram(by_image['dice'])}"
    )


def _diameters(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for row in rows:
        low, high = row["from_px"], row["to_px"]
        name = f"{low:g} to {high:g}" if high is not None else f"{low:g} and more"
        figures = "".join(f"<td>{row[key]:.3f}</td>" for key in ("recall", "precision", "f1"))
        bar = f'<div class="bar" style="width:{100 * row["f1"]:.1f}%"></div>'
        lines.append(
            f"<tr><td>{name}</td><td>{row['labelled']}</td><td>{row['answers']}</td>{figures}"
            f'<td style="width:30%">{bar}</td></tr>'
        )
    return (
        "<table><tr><th>network px</th><th>labelled</th><th>answers</th><th>recall</th>"
        f"<th>precision</th><th>F1</th><th></th></tr>{''.join(lines)}</table>"
    )


def _histogram(values: Sequence[float]) -> str:
    counts = [0] * _BINS
    for value in values:
        counts[min(int(value * _BINS), _BINS - 1)] += 1
    chart = Chart(
        Axis("Dice of an image", 0, 1), axis_over("images", [*counts, 1], from_zero=True), 960, 220
    )
    for k, count in enumerate(counts):
        low, high = k / _BINS, (k + 1) / _BINS
        chart.bar(low, high, count, "var(--s1)", f"{low:.2f} to {high:.2f}: {count} images")
    return chart.svg()
