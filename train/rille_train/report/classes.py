"""A classifier's part of the page: classes, confusions, calibration, abstention."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from rille.report.calibration import reliability, risk_coverage
from rille.report.svg import matrix

_WORST = 10


def class_tables(detail: Mapping[str, Any]) -> str:
    """Return the table of classes, the worst confusions, and the matrix twice.

    Args:
        detail: content of `validation.json`.
    """
    names, counts = _confusion(detail)
    taken = _confusions(names, counts)
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{row['images']}</td>"
        + "".join(f"<td>{row[key]:.3f}</td>" for key in ("recall", "precision", "f1"))
        + f'<td class="word">{_most(name, taken)}</td></tr>'
        for name, row in detail["per_class"].items()
    )
    totals = [max(sum(row), 1) for row in counts]
    shares = [[n / total for n in row] for row, total in zip(counts, totals, strict=True)]
    images = [[str(n or "") for n in row] for row in counts]
    percent = [[_percent(share) for share in row] for row in shares]
    return (
        "<h2>Classes</h2><table><tr><th>class</th><th>images</th><th>recall</th><th>precision</th>"
        f'<th>F1</th><th class="word">most often taken for</th></tr>{rows}</table>'
        f"<h3>Worst confusions</h3>{_worst(taken)}"
        '<h2>Confusion matrix</h2><p class="sub">Truth down, answer across. Colour: share of the '
        "row, on a root scale. Classes neither labelled nor answered are left out.</p>"
        f"<h3>Images</h3>{matrix(names, images, shares)}"
        f"<h3>Percent of the row</h3>{matrix(names, percent, shares)}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.{0 if share >= 0.01 else 1}f}" if share else ""


def _confusion(detail: Mapping[str, Any]) -> tuple[list[str], list[list[int]]]:
    """Return names and counts of the classes that occur as truth or as answer."""
    counts: list[list[int]] = detail["confusion"]
    names = list(detail.get("class_names") or map(str, range(len(counts))))
    kept = [k for k in range(len(counts)) if sum(counts[k]) or sum(row[k] for row in counts)]
    return [names[k] for k in kept], [[counts[r][c] for c in kept] for r in kept]


def _confusions(
    names: Sequence[str], counts: Sequence[Sequence[int]]
) -> list[tuple[str, str, int, float]]:
    """Return (truth, answer, images, share of the truth), the most frequent first."""
    found = [
        (names[r], names[c], n, n / sum(row))
        for r, row in enumerate(counts)
        for c, n in enumerate(row)
        if n and r != c
    ]
    return sorted(found, key=lambda f: (-f[2], -f[3], f[:2]))


def _most(name: str, taken: Sequence[tuple[str, str, int, float]]) -> str:
    own = next((f for f in taken if f[0] == name), None)
    return f"{html.escape(own[1])} ({own[2]})" if own else ""


def _worst(taken: Sequence[tuple[str, str, int, float]]) -> str:
    if not taken:
        return "<p>None: every answer was right.</p>"
    rows = "".join(
        f'<tr><td>{html.escape(truth)}</td><td class="word">{html.escape(answer)}</td><td>{n}</td>'
        f"<td>{100 * share:.1f} %</td></tr>"
        for truth, answer, n, share in taken[:_WORST]
    )
    more = len(taken) - _WORST
    tail = f"<p>and {more} more pairs.</p>" if more > 0 else ""
    return (
        '<table><tr><th>truth</th><th class="word">answer</th><th>images</th>'
        f"<th>of the truth</th></tr>{rows}</table>{tail}"
    )


def calibration_plots(calibration: Mapping[str, Any], temperature: float) -> str:
    """Return the reliability and the risk-coverage plot side by side.

    Args:
        calibration: "calibration" of `validation.json`.
        temperature: the one that the probabilities were computed with.
    """
    if "reliability" not in calibration:
        return "<p>Not in this run's validation.json; score it again to have it.</p>"
    answered = calibration["accuracy_of_the_answered"]
    right = f"{100 * answered:.2f} % of those are right" if answered is not None else "none"
    return (
        f'<p class="sub">At temperature {temperature:g}. Expected calibration error '
        f"{calibration['expected_calibration_error']:.4f} in bins of equal width, "
        f"{calibration['adaptive_calibration_error']:.4f} in bins of equal mass. Area under "
        f"risk-coverage {calibration['area_under_risk_coverage']:.4f}. Answering at p &ge; "
        f"{calibration['abstain_below']:.2f} covers {100 * calibration['coverage']:.1f} % of the "
        f"images; {right}. Temperature and threshold are fitted anew at export, on the quantised "
        "outputs.</p>"
        f'<div class="pair">{reliability(calibration["reliability"])}'
        f"{risk_coverage(calibration)}</div>"
    )
