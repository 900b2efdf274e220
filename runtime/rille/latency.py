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


SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
"""Percentiles that are shown."""


def enough_for(share: float) -> int:
    """Return how many samples hold a percentile of 0.5 or more: one of them beyond it, at least."""
    return 1 if share <= 0.5 else round(1 / (1 - share))


def interval_ranks(n: int, share: float, confidence: float = 0.95) -> tuple[int | None, int | None]:
    """Return the ranks (1 is the smallest) of the samples between which a percentile lies.

    The number of samples below the true percentile is binomial (n, share), whatever the samples
    are distributed like; each rank leaves half of what `confidence` lacks beyond it (David and
    Nagaraja 2003, section 7.1). None for a side on which so few samples hold no such rank.

    Args:
        n: number of samples.
        share: the percentile, above 0 and below 1.
        confidence: least probability that the interval holds it.
    """
    tail = (1 - confidence) / 2
    reach = 12 * math.sqrt(n * share * (1 - share)) + 12
    first, last = max(0, math.floor(n * share - reach)), min(n, math.ceil(n * share + reach))
    low = high = None
    below = 0.0
    for k in range(first, last + 1):
        # `below` is P(B < k): the sample of rank k lies beyond the percentile where B < k.
        if below <= tail and k >= 1:
            low = k
        below += _binomial(k, n, share)
        if below >= 1 - tail and k < n:
            high = k + 1
            break
    return low, high


def _binomial(k: int, n: int, share: float) -> float:
    """Return the probability of k successes among n."""
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(share) + (n - k) * math.log1p(-share))


def percentile_interval(
    sorted_values: NDArray[np.float64], share: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the order-statistic confidence interval of a percentile; see `interval_ranks`.

    Where so few samples hold no rank for a side, it is their smallest or largest: the interval is
    then less sure than `confidence`.

    Args:
        sorted_values: the samples, ascending, at least one.
        share: the percentile, above 0 and below 1.
        confidence: probability that the interval holds it.
    """
    n = len(sorted_values)
    low, high = interval_ranks(n, share, confidence)
    return float(sorted_values[(low or 1) - 1]), float(sorted_values[(high or n) - 1])


def intervals(durations_ms: Sequence[float]) -> dict[str, tuple[float | None, float | None]]:
    """Return the 95 % confidence interval of each percentile of `SHARES` in milliseconds.

    None stands for a side that so few samples do not hold.
    """
    values = np.sort(np.asarray(durations_ms, np.float64))
    found: dict[str, tuple[float | None, float | None]] = {}
    for name, share in SHARES.items():
        low, high = interval_ranks(len(values), share)
        found[name] = (
            None if low is None else float(values[low - 1]),
            None if high is None else float(values[high - 1]),
        )
    return found


def summary(durations_ms: Sequence[float]) -> dict[str, Any]:
    """Return n, mean, the percentiles of `SHARES` and max of durations in milliseconds.

    A percentile is None where so few samples do not hold its rank: p90 below 10, p95 below 20,
    p99 below 100, p99.9 below 1000.
    """
    values = np.sort(np.asarray(durations_ms, np.float64))
    n = len(values)
    if not n:
        return {"n": 0, "mean": None, **dict.fromkeys(SHARES), "max": None}
    shown = {
        name: float(values[math.ceil(share * n) - 1]) if n >= enough_for(share) else None
        for name, share in SHARES.items()
    }
    return {"n": n, "mean": float(values.mean()), **shown, "max": float(values[-1])}


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
