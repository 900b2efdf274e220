"""Percentiles against NumPy, and memory that does not grow."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rille.latency import (
    LatencyHistogram,
    interval_ranks,
    intervals,
    percentile_interval,
    summary,
)


@given(st.lists(st.floats(0.002, 50_000), min_size=1, max_size=300), st.floats(0.01, 1.0))
def test_histogram_percentiles_are_within_one_percent(values: list[float], share: float) -> None:
    histogram = LatencyHistogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
    assert histogram.percentile(share) == pytest.approx(exact, rel=0.0101)
    assert histogram.max_ms == max(values)


def test_histogram_takes_anything() -> None:
    histogram = LatencyHistogram()
    assert math.isnan(histogram.percentile(0.5))
    for value in (-1.0, 0.0, 1e12):
        histogram.add(value)
    assert histogram.count == 3


def test_interval_holds_the_true_percentile() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        low, high = percentile_interval(np.sort(rng.exponential(1.0, 400)), 0.9)
        hits += low <= -math.log(0.1) <= high
    assert hits / 300 == pytest.approx(0.95, abs=0.035)


def test_ranks_that_the_samples_do_not_hold_are_not_claimed() -> None:
    assert summary([])["p50"] is None
    few = summary([1.0, 2.0, 3.0])
    assert few["p50"] == 2.0 and few["p95"] is None and few["p99"] is None
    many = summary([float(k) for k in range(1, 1001)])
    assert (many["p50"], many["p95"], many["p99"], many["max"]) == (500, 950, 990, 1000)


@pytest.mark.parametrize("n", [5, 20, 73, 400])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_ranks_are_those_of_the_binomial_distribution(n: int, share: float) -> None:
    """Against the sum over all outcomes; one rank nearer would not be sure enough."""
    low, high = interval_ranks(n, share)
    chance = [math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
    if low is None:
        assert chance[0] > 0.025
    else:
        assert sum(chance[:low]) <= 0.025 < sum(chance[: low + 1])
    if high is None:
        assert sum(chance[:n]) < 0.975
    else:
        assert sum(chance[:high]) >= 0.975 > sum(chance[: high - 1])


def test_few_samples_promise_nothing() -> None:
    found = intervals([float(k) for k in range(1, 101)])
    assert found["p50"] == (40.0, 61.0)
    assert found["p99"][0] is not None and found["p99"][1] is None
    assert found["p99.9"][1] is None
    assert intervals([1.0, 2.0])["p50"] == (None, None)
    low, high = interval_ranks(200_000, 0.999)
    assert low is not None and high is not None and 199_770 < low < 199_800 < high < 199_830
