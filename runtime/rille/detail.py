"""What a results file says beyond the scores: intervals, calibration, abstention, sizes.

The functions return plain tables, which `rille.evaluate` adds to `Evaluation.detail`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.metrics import ObjectCounts, PixelCounts
from rille.statistics import (
    bootstrap_interval,
    calibration_error,
    group_weighted_accuracy,
    group_weights,
    macro_f1,
    macro_f1_terms,
    ratio,
    reliability,
    risk_coverage,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BOOTSTRAP = "2,000 draws, percentile interval"
CLASS_DEFINITIONS = {
    "intervals_95": f"whole groups (bursts, sessions) drawn with replacement, {_BOOTSTRAP}; a draw "
    "that misses a class is scored without it",
    "group_weighted_accuracy": "mean over the groups of the share of right answers in each",
    "adaptive_calibration_error": "as expected_calibration_error, 15 bins of equally many answers",
    "area_under_risk_coverage": "mean share of wrong answers over all coverages, surest first",
}
MASK_DEFINITIONS = {
    "intervals_95": f"whole images drawn with replacement, {_BOOTSTRAP}",
    "by_diameter": "an answer counts with the diameter of the label it found, else with its own",
}


def class_intervals(
    truth: Sequence[int], answers: Sequence[int], classes: int, groups: Sequence[str]
) -> dict[str, Any]:
    """Return how sure a classifier's scores are, with groups as the independent units.

    Args:
        truth, answers: class indices in [0, classes).
        classes: number of classes.
        groups: the group of each image.
    """
    right, weights = np.equal(truth, answers), group_weights(groups)
    terms = {
        "accuracy": np.stack([right, np.ones(len(right))], axis=1),
        "group_weighted_accuracy": np.stack([right * weights, weights], axis=1),
    }
    intervals = {name: bootstrap_interval(t, groups, ratio) for name, t in terms.items()}
    intervals["macro_f1"] = bootstrap_interval(
        macro_f1_terms(truth, answers, classes), groups, macro_f1
    )
    return {
        "groups": len(set(groups)),
        "group_weighted_accuracy": group_weighted_accuracy(right, groups),
        "intervals_95": intervals,
    }


def calibration(probability: NDArray[np.float32], right: NDArray[np.bool_]) -> dict[str, Any]:
    """Return reliability bins, adaptive calibration error, and what abstaining would buy.

    Args:
        probability: (n,) probability of the answer given.
        right: (n,) whether that answer was right.
    """
    curve = risk_coverage(probability, right)
    return {
        "adaptive_calibration_error": calibration_error(
            reliability(probability, right, equal_mass=True)
        ),
        "reliability": [asdict(b) for b in reliability(probability, right)],
        "risk_coverage": curve.points(),
        "area_under_risk_coverage": curve.area,
    }


def mask_statistics(pixels: PixelCounts, objects: ObjectCounts, threshold: float) -> dict[str, Any]:
    """Return Dice by image, objects by diameter, and intervals, with images as the units.

    Args:
        pixels, objects: what was counted.
        threshold: least score of an object.
    """
    both, predicted, labelled = np.asarray(pixels.images, np.float64).T
    dice = ratio(np.stack([2 * both, predicted + labelled], axis=1))
    hits, answers, labels = objects.counts_by_image(threshold).T
    images = [str(k) for k in range(len(dice))]
    terms = {
        "dice": np.stack([2 * both, predicted + labelled], axis=1),
        "object_f1": np.stack([2 * hits, answers + labels], axis=1),
    }
    return {
        "by_image": {
            "dice": [round(float(value), 4) for value in dice],
            "dice_mean": float(dice.mean()),
            "dice_median": float(np.median(dice)),
        },
        "by_diameter": objects.by_diameter(threshold),
        "intervals_95": {name: bootstrap_interval(t, images, ratio) for name, t in terms.items()},
    }
