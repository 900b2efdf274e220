"""Does a figure creep? A slope that single outliers do not bend, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_Z = 1.96
_LEAST = 5


@dataclass(frozen=True, slots=True)
class Slope:
    """How much a figure changes with each step.

    Attributes:
        each: the change; None with fewer than two points.
        low, high: its 95 % interval; None with fewer than five points.
    """

    each: float | None
    low: float | None = None
    high: float | None = None

    @property
    def drifts(self) -> bool:
        """Whether the figure grows, beyond chance."""
        return self.low is not None and self.low > 0

    def to_json(self) -> dict[str, Any]:
        """Return it for a results file."""
        return {"each": self.each, "interval_95": [self.low, self.high], "drifts": self.drifts}


def slope(values: Sequence[float]) -> Slope:
    """Return the median of the slopes between all pairs of equally spaced values.

    Theil and Sen's estimate, with Sen's (1968) interval from the distribution of Kendall's tau.
    """
    y = np.asarray(values, np.float64)
    n = len(y)
    if n < 2:
        return Slope(None)
    first, second = np.triu_indices(n, 1)
    slopes = np.sort((y[second] - y[first]) / (second - first))
    each = float(np.median(slopes))
    if n < _LEAST:
        return Slope(each)
    reach = _Z * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = max(0, math.floor((len(slopes) - reach) / 2))
    high = min(len(slopes) - 1, math.ceil((len(slopes) + reach) / 2))
    return Slope(each, float(slopes[low]), float(slopes[high]))
