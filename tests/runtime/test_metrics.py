"""Scores against hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest

from rille.ellipse import Ellipse
from rille.metrics import (
    ObjectCounts,
    PixelCounts,
    classification_report,
    expected_calibration_error,
    wilson_interval,
)


def test_macro_f1_is_over_the_classes_present() -> None:
    report = classification_report([0, 0, 0, 2, 2], [0, 0, 1, 2, 1], 4)
    assert report.accuracy == pytest.approx(3 / 5)
    assert set(report.present) == {0, 2}
    assert report.f1[0] == pytest.approx(2 * 2 / (3 + 2))
    assert report.f1[2] == pytest.approx(2 * 1 / (2 + 1))
    assert report.macro_f1 == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert report.recall[0] == pytest.approx(2 / 3)


def test_a_constant_answer_scores_the_majority() -> None:
    truth = [0] * 80 + [1] * 20
    report = classification_report(truth, [0] * 100, 2)
    assert report.accuracy == 0.8
    assert report.recall[1] == 0.0 and report.precision[1] == 0.0


def test_shuffled_labels_score_about_chance() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 5000)
    report = classification_report(list(truth), list(rng.permutation(truth)), 5)
    assert report.accuracy == pytest.approx(0.2, abs=0.03)


def test_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        classification_report([], [], 3)


def test_wilson_interval_of_a_known_case() -> None:
    assert wilson_interval(9, 10) == pytest.approx((0.596, 0.982), abs=0.001)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_pixels_are_summed_over_images() -> None:
    counts = PixelCounts()
    one, none = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    half = one.copy()
    half[2:] = False
    counts.add(half, one)
    counts.add(none, none)
    scores = counts.scores()
    assert scores["dice"] == pytest.approx(2 * 8 / 24)
    assert scores["iou"] == pytest.approx(0.5)
    assert (scores["precision"], scores["recall"]) == (1.0, 0.5)
    assert PixelCounts().scores()["dice"] == 1.0


def circle(x: float, y: float, r: float = 10) -> Ellipse:
    return Ellipse(x, y, r, r)


def test_one_label_is_found_once() -> None:
    counts = ObjectCounts()
    counts.add([(circle(50, 50), 0.9), (circle(51, 50), 0.8)], [circle(50, 50)], 100, 100)
    assert counts.hits == [True, False]
    assert counts.at(0.0)["f1"] == pytest.approx(2 / 3)
    assert counts.at(0.85) == {"precision": 1.0, "recall": 1.0, "f1": 1.0}


def test_a_poor_overlap_is_no_hit() -> None:
    counts = ObjectCounts()
    counts.add([(circle(58, 50), 0.9)], [circle(50, 50)], 100, 100)
    assert counts.hits == [False]


def test_small_and_mostly_outside_labels_are_ignored_both_ways() -> None:
    counts = ObjectCounts()
    labels = [circle(50, 50, 3), circle(-4, 20, 10)]
    counts.add([(circle(50, 50, 3), 0.9), (circle(-4, 20, 10), 0.8)], labels, 100, 100)
    assert counts.labelled == 0
    assert counts.hits == []


def test_a_small_false_answer_is_ignored_and_a_large_one_is_not() -> None:
    counts = ObjectCounts()
    counts.add([(circle(50, 50, 3), 0.9), (circle(20, 20, 9), 0.8)], [], 100, 100)
    assert counts.hits == [False]


def test_average_precision_of_a_known_ranking() -> None:
    counts = ObjectCounts(labelled=4, scores=[0.9, 0.8, 0.7, 0.6], hits=[True, False, True, True])
    # Precision at the hits 1, 2/3, 3/4, made monotone: 1, 3/4, 3/4; the fourth is never found.
    assert counts.average_precision() == pytest.approx((1 + 0.75 + 0.75) / 4)
    threshold, scores = counts.best_threshold()
    assert threshold == 0.6
    assert scores["f1"] == pytest.approx(2 * 3 / (4 + 4))


def test_nothing_predicted() -> None:
    counts = ObjectCounts()
    counts.add([], [circle(50, 50)], 100, 100)
    assert counts.average_precision() == 0.0
    assert counts.at(0.5)["f1"] == 0.0


def test_calibration_error_of_a_known_case() -> None:
    probability = np.array([0.95] * 10, np.float32)
    right = np.array([True] * 5 + [False] * 5)
    assert expected_calibration_error(probability, right) == pytest.approx(0.45, abs=1e-6)
