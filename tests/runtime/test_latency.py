"""Percentiles against NumPy, and memory that does not grow."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rille.latency import LatencyHistogram, percentile_interval, summary


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
