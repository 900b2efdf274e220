"""Intervals, calibration and abstention against known answers."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rille.ellipse import Ellipse
from rille.metrics import (
    ObjectCounts,
    PixelCounts,
    classification_report,
    expected_calibration_error,
    wilson_interval,
)
from rille.statistics import (
    bootstrap_interval,
    calibration_error,
    group_weighted_accuracy,
    macro_f1,
    macro_f1_terms,
    ratio,
    reliability,
    risk_coverage,
)


def shares(right: NDArray[Any]) -> NDArray[np.float64]:
    return np.stack([right, np.ones(len(right))], axis=1)


def test_intervals_cover_the_truth_where_bursts_agree() -> None:
    """Bursts of ten near-duplicates: by group about 95 % cover; by image most intervals miss."""
    rng = np.random.default_rng(1)
    bursts, size, share, trials = 60, 10, 0.8, 300
    groups = [str(k) for k in np.repeat(np.arange(bursts), size)]
    clustered = naive = 0
    for trial in range(trials):
        chance = rng.beta(share * 0.5, (1 - share) * 0.5, bursts)
        right = rng.random((bursts, size)) < chance[:, None]
        low, high = bootstrap_interval(
            shares(right.ravel()), groups, ratio, resamples=500, seed=trial
        )
        clustered += low <= share <= high
        low, high = wilson_interval(int(right.sum()), right.size)
        naive += low <= share <= high
    assert 0.90 <= clustered / trials <= 0.98
    assert naive / trials < 0.75


def test_with_single_images_the_bootstrap_agrees_with_wilson() -> None:
    right = np.arange(1000) % 10 != 0
    found = bootstrap_interval(shares(right), [str(k) for k in range(1000)], ratio)
    assert found == pytest.approx(wilson_interval(900, 1000), abs=0.003)


def test_the_interval_is_the_same_each_time_and_in_any_order() -> None:
    rng = np.random.default_rng(2)
    right, groups = rng.random(200) < 0.7, [f"g{k % 17}" for k in range(200)]
    order = rng.permutation(200)
    one = bootstrap_interval(shares(right), groups, ratio)
    assert one == bootstrap_interval(shares(right[order]), [groups[k] for k in order], ratio)
    assert one != bootstrap_interval(shares(right), groups, ratio, seed=1)
    low, high = bootstrap_interval(shares(right), groups, ratio, level=0.5)
    assert one[0] < low < high < one[1]


def test_a_network_without_errors_has_no_width() -> None:
    assert bootstrap_interval(shares(np.ones(9)), ["a", "b", "c"] * 3, ratio) == (1.0, 1.0)
    with pytest.raises(ValueError, match="0 samples and 0 groups"):
        bootstrap_interval(np.zeros((0, 2)), [], ratio)
    with pytest.raises(ValueError, match="2 samples and 1 groups"):
        bootstrap_interval(np.zeros((2, 2)), ["a"], ratio)


def test_two_thousand_draws_of_macro_f1_take_less_than_a_second() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 25, 5000)
    answer = np.where(rng.random(5000) < 0.9, truth, rng.integers(0, 25, 5000))
    groups = [str(k) for k in rng.integers(0, 1000, 5000)]
    start = time.monotonic()
    low, high = bootstrap_interval(macro_f1_terms(list(truth), list(answer), 25), groups, macro_f1)
    assert time.monotonic() - start < 1.0
    assert low < classification_report(list(truth), list(answer), 25).macro_f1 < high


def test_macro_f1_from_sums_is_that_of_the_report() -> None:
    truth, answer = [0, 0, 0, 2, 2], [0, 0, 1, 2, 1]
    sums = macro_f1_terms(truth, answer, 4).sum(0, keepdims=True).astype(np.float64)
    assert macro_f1(sums)[0] == pytest.approx(classification_report(truth, answer, 4).macro_f1)


def test_shuffled_labels_score_chance_within_the_interval() -> None:
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 5, 3000)
    right = truth == rng.permutation(truth)
    low, high = bootstrap_interval(shares(right), [str(k // 3) for k in range(3000)], ratio)
    assert low < 0.2 < high
    assert high - low < 0.04


def test_each_group_counts_once() -> None:
    right = np.array([True] * 98 + [False, True])
    groups = ["burst"] * 98 + ["one", "two"]
    assert group_weighted_accuracy(right, groups) == pytest.approx(2 / 3)
    assert group_weighted_accuracy(right, [str(k) for k in range(100)]) == pytest.approx(0.99)


def test_reliability_of_a_known_case() -> None:
    probability = np.array([0.05, 0.62, 0.62, 0.62, 1.0], np.float32)
    right = np.array([False, True, True, False, True])
    bins = reliability(probability, right, 10)
    assert [(b.count, round(b.low, 6), round(b.high, 6)) for b in bins] == [
        (1, 0.0, 0.1),
        (3, 0.6, 0.7),
        (1, 0.9, 1.0),
    ]
    assert bins[1].accuracy == pytest.approx(2 / 3)
    error = (0.05 + 3 * abs(2 / 3 - 0.62) + 0.0) / 5
    assert calibration_error(bins) == pytest.approx(error, abs=1e-6)
    assert expected_calibration_error(probability, right, 10) == pytest.approx(error, abs=1e-6)


def test_bins_of_equal_mass_hold_equally_many() -> None:
    rng = np.random.default_rng(5)
    probability = rng.random(1500) ** 0.2
    right = rng.random(1500) < probability
    bins = reliability(probability, right, equal_mass=True)
    assert len(bins) == 15
    assert {b.count for b in bins} == {100}
    assert calibration_error(bins) < 0.05


def test_equal_probabilities_stay_in_one_bin() -> None:
    """Quantised outputs repeat: the error may not depend on how ties are ordered."""
    probability = np.repeat(np.array([0.5, 0.9], np.float32), [30, 70])
    right = np.arange(100) % 2 == 0
    bins = reliability(probability, right, equal_mass=True)
    assert [(b.count, b.accuracy) for b in bins] == [(30, 0.5), (70, 0.5)]
    turned = reliability(probability[::-1], right[::-1], equal_mass=True)
    assert calibration_error(turned) == pytest.approx(calibration_error(bins))


def test_a_constant_answer_is_calibrated_at_the_majority() -> None:
    right = np.array([True] * 80 + [False] * 20)
    (only,) = reliability(np.full(100, 0.8), right)
    assert (only.low, only.high) == pytest.approx((12 / 15, 13 / 15))
    assert (only.probability, only.accuracy, only.count) == pytest.approx((0.8, 0.8, 100))
    assert calibration_error([only]) < 1e-9
    curve = risk_coverage(np.full(100, 0.8), right)
    assert curve.area == pytest.approx(0.2)  # without a ranking, abstaining buys nothing
    assert np.ptp(curve.risk) < 1e-9


def test_area_of_a_perfect_and_of_the_worst_ranking() -> None:
    right = np.array([True] * 8 + [False] * 2)
    best = risk_coverage(np.linspace(1, 0.1, 10), right)
    assert best.area == pytest.approx((1 / 9 + 2 / 10) / 10)
    worst = risk_coverage(np.linspace(0.1, 1, 10), right)
    assert worst.area == pytest.approx((1 + 1 + sum(2 / k for k in range(3, 11))) / 10)
    assert risk_coverage(np.ones(5), np.ones(5, bool)).area == 0.0
    with pytest.raises(ValueError, match="no answers"):
        risk_coverage(np.zeros(0), np.zeros(0, bool))


def test_points_of_the_curve_end_at_full_coverage() -> None:
    right = np.arange(7) < 5
    points = risk_coverage(np.linspace(1, 0.4, 7), right).points()
    assert len(points) == 20
    assert points[0] == pytest.approx((1 / 7, 0.0))
    assert points[-1] == pytest.approx((1.0, 2 / 7))
    assert [c for c, _ in points] == sorted(c for c, _ in points)


def circle(x: float, radius: float) -> Ellipse:
    return Ellipse(x, 100, radius, radius)


def test_objects_count_in_the_bin_of_the_label_they_found() -> None:
    counts = ObjectCounts()
    labels = [circle(30, 6), circle(80, 9), circle(150, 25)]
    answers = [(circle(30, 6.8), 0.9), (circle(150, 25), 0.8), (circle(220, 8), 0.7)]
    counts.add(answers, labels, 300, 200)
    counts.add([(circle(100, 30), 0.2)], [], 300, 200)
    table = counts.by_diameter(0.5)
    assert [(r["from_px"], r["to_px"]) for r in table] == [(8, 13), (13, 20), (20, 40), (40, None)]
    assert [r["labelled"] for r in table] == [1, 1, 0, 1]
    # The first answer is 13.6 px wide, but found the label of 12 px.
    assert [(r["answers"], r["hits"]) for r in table] == [(1, 1), (1, 0), (0, 0), (1, 1)]
    assert [r["f1"] for r in table] == [1.0, 0.0, 1.0, 1.0]
    assert counts.by_diameter(0.1)[3]["precision"] == 0.5
    np.testing.assert_array_equal(counts.counts_by_image(0.5), [[2, 3, 3], [0, 0, 0]])
    assert sum(r["hits"] for r in table) == counts.counts_by_image(0.5)[:, 0].sum()


def test_pixels_are_remembered_by_image() -> None:
    counts = PixelCounts()
    half = np.zeros((4, 4), bool)
    half[:2] = True
    counts.add(half, np.ones((4, 4), bool))
    counts.add(half, half)
    assert counts.images == [(8, 8, 16), (8, 8, 8)]
    assert counts.scores()["dice"] == pytest.approx(2 * 16 / 40)
