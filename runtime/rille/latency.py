"""Latency figures: a histogram that never grows, and exact percentiles with their uncertainty."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOWEST_MS = 0.001
_GROWTH = math.log(1.01)
_BUCKETS = 2100  # 1 microsecond to 1200 seconds


class LatencyHistogram:
    """Counts of durations in buckets 1 % apart: constant memory, percentiles within 1 %.

    Attributes:
        count: durations added.
        max_ms: the longest, exactly.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS, np.int64)
        self.count = 0
        self.max_ms = 0.0

    def add(self, duration_ms: float) -> None:
        """Count one duration in milliseconds; negative ones count as the shortest."""
        bucket = 0
        if duration_ms > _LOWEST_MS:
            bucket = min(int(math.log(duration_ms / _LOWEST_MS) / _GROWTH) + 1, _BUCKETS - 1)
        self._counts[bucket] += 1
        self.count += 1
        self.max_ms = max(self.max_ms, duration_ms)

    def percentile(self, share: float) -> float:
        """Return the duration in milliseconds that `share` (0 to 1) of all do not exceed.

        Returns NaN while nothing was added.
        """
        if not self.count:
            return math.nan
        rank = max(1, math.ceil(share * self.count))
        bucket = int(np.searchsorted(np.cumsum(self._counts), rank))
        upper = _LOWEST_MS * math.exp(bucket * _GROWTH)
        return min(upper, self.max_ms)


def percentile_interval(
    sorted_values: NDArray[np.float64], share: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the order-statistic confidence interval of a percentile.

    The number of samples below the true percentile is binomial (n, share); its normal
    approximation gives the two ranks. No distribution of the durations is assumed.

    Args:
        sorted_values: the samples, ascending, at least one.
        share: the percentile, 0 to 1.
        confidence: probability that the interval holds it.
    """
    n = len(sorted_values)
    z = {0.9: 1.645, 0.95: 1.96, 0.99: 2.576}[confidence]
    spread = z * math.sqrt(n * share * (1 - share))
    low = math.floor(n * share - spread)
    high = math.ceil(n * share + spread)
    return float(sorted_values[max(low, 0)]), float(sorted_values[min(high, n - 1)])


def summary(durations_ms: Sequence[float]) -> dict[str, Any]:
    """Return n, mean, p50, p95, p99 and max of durations in milliseconds.

    p99 is None below 100 samples and p95 below 20: fewer samples do not hold that rank.
    """
    values = np.sort(np.asarray(durations_ms, np.float64))
    n = len(values)
    if not n:
        return {"n": 0, "mean": None, "p50": None, "p95": None, "p99": None, "max": None}

    def at(share: float, least: int) -> float | None:
        return float(values[min(n - 1, math.ceil(share * n) - 1)]) if n >= least else None

    return {
        "n": n,
        "mean": float(values.mean()),
        "p50": at(0.5, 1),
        "p95": at(0.95, 20),
        "p99": at(0.99, 100),
        "max": float(values[-1]),
    }


def spent_ms(call: Callable[[int], object], runs: int, warm: int = 0) -> list[float]:
    """Return the milliseconds of single calls, one after the other.

    Args:
        call: what to time; it is given the number of its turn.
        runs: calls that count.
        warm: calls before them, which do not.
    """
    spent = []
    for turn in range(warm + runs):
        start = time.perf_counter_ns()
        call(turn)
        spent.append((time.perf_counter_ns() - start) / 1e6)
    return spent[warm:]
