"""A classifier's calibration as figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rille.report.svg import Axis, Chart, axis_over


def reliability(bins: Sequence[Mapping[str, Any]]) -> str:
    """Return how often answers of a stated probability are right, as a figure.

    Args:
        bins: "reliability" of a classifier's scores: low, high, count, probability, accuracy.
    """
    chart = Chart(Axis("stated probability", 0, 1), Axis("share that is right", 0, 1), 480, 380)
    for b in bins:
        chart.bar(
            b["low"],
            b["high"],
            b["accuracy"],
            "var(--s1)",
            f"{b['count']} answers of mean probability {b['probability']:.3f}: "
            f"{b['accuracy']:.3f} right",
        )
    chart.rule((0, 0), (1, 1))
    total = sum(b["count"] for b in bins)
    shares = Chart(Axis("stated probability", 0, 1), Axis("share of answers", 0, 1), 480, 150)
    for b in bins:
        share = b["count"] / total
        shares.bar(b["low"], b["high"], share, "var(--lost)", f"{b['count']} of {total} answers")
    return f"<figure>{chart.svg()}{shares.svg()}<figcaption>Reliability</figcaption></figure>"


def risk_coverage(calibration: Mapping[str, Any]) -> str:
    """Return how often answers are wrong when only the surest are given, as a figure.

    Args:
        calibration: of a classifier's scores.
    """
    points = [(float(c), float(r)) for c, r in calibration["risk_coverage"]]
    chart = Chart(
        Axis("coverage", 0, 1.02),
        axis_over(
            "share of answers that is wrong", [0.01, *(r for _, r in points)], from_zero=True
        ),
        480,
        380,
    )
    coverage, answered = calibration["coverage"], calibration["accuracy_of_the_answered"]
    chart.rule((coverage, 0), (coverage, chart.y.high))
    chart.line(points, "var(--s1)", "coverage, risk")
    if answered is not None:
        chart.note(coverage, 1 - answered, f"p ≥ {calibration['abstain_below']:.2f}", anchor="end")
    caption = "Risk and coverage; dashed: the abstention threshold"
    return f"<figure>{chart.svg()}<figcaption>{caption}</figcaption></figure>"
