"""What a frame will cost: a model of few numbers, from few measurements.

    age = rest(megapixels) + sum over networks, or the longest of them where they run at once, of
          preprocess(megapixels) + infer + postprocess(features)

Each of the functions is a straight line, fitted by the median of the slopes between all pairs of
frames (Theil 1950, Sen 1968), which frames that something interrupted do not bend. What single
frames differ by is kept as it was: their ages over the model's. A frame rate is answered by letting
such frames arrive at a slot for the newest one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ARRIVALS = 4000
_MOST_POINTS = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One frame that was measured.

    Attributes:
        megapixels: its size.
        features: features found in it.
        parts_ms: "classify infer" and the like -> milliseconds.
        age_ms: capture to publication.
    """

    megapixels: float
    features: int
    parts_ms: Mapping[str, float]
    age_ms: float


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line: milliseconds at 0, and for each unit more."""

    fixed_ms: float
    each_ms: float

    def at(self, x: float) -> float:
        """Return the milliseconds for x units."""
        return self.fixed_ms + self.each_ms * x


@dataclass(frozen=True, slots=True)
class Predicted:
    """What frames will take.

    Attributes:
        p50_ms, p95_ms: of the age.
        superseded: share of the frames that a newer one replaces.
    """

    p50_ms: float
    p95_ms: float
    superseded: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """The fitted model.

    Attributes:
        parts: "classify preprocess" and the like -> its line, over megapixels or features.
        rest: everything else, over megapixels: picture quality, turning, bookkeeping.
        parallel: whether networks run at the same time.
        spread: age over the model's age, of every frame that was measured, ascending.
    """

    parts: Mapping[str, Line]
    rest: Line
    parallel: bool
    spread: NDArray[np.float64] = field(repr=False)

    def age_ms(self, megapixels: float, features: float) -> float:
        """Return the age of a usual frame that waits for nothing."""
        spent = {n: line.at(_unit(n, megapixels, features)) for n, line in self.parts.items()}
        return self.rest.at(megapixels) + busy_ms(spent, self.parallel)

    def predict(self, megapixels: float, features: float, fps: float | None = None) -> Predicted:
        """Return what frames of one kind will take.

        Args:
            megapixels: their size.
            features: how many are found in each.
            fps: frames a second; None for one after the other.
        """
        usual = self.age_ms(megapixels, features)
        if fps is None:
            p50, p95 = (float(np.quantile(self.spread, q)) * usual for q in (0.5, 0.95))
            return Predicted(p50, p95)
        draws = np.random.default_rng(0).choice(self.spread, _ARRIVALS) * usual
        ages, lost = newest_first(draws.tolist(), 1000.0 / fps)
        p50, p95 = (float(np.quantile(ages, q)) for q in (0.5, 0.95))
        return Predicted(p50, p95, lost)

    def to_json(self) -> dict[str, Any]:
        """Return it for a results file."""
        lines = {**self.parts, "rest": self.rest}
        return {
            "parallel": self.parallel,
            "lines": {
                name: {"fixed_ms": line.fixed_ms, "each_ms": line.each_ms, "over": _over(name)}
                for name, line in lines.items()
            },
            "spread": {str(q): float(np.quantile(self.spread, q)) for q in (0.05, 0.5, 0.95)},
        }


def busy_ms(spent: Mapping[str, float], parallel: bool) -> float:
    """Return what networks take together.

    Args:
        spent: "classify infer" and the like -> milliseconds.
        parallel: whether they run at the same time.
    """
    totals: dict[str, float] = {}
    for name, ms in spent.items():
        stage = name.split()[0]
        totals[stage] = totals.get(stage, 0.0) + ms
    together = max if parallel else sum
    return float(together(totals.values()))


def fit(samples: Sequence[Sample], parallel: bool) -> CostModel:
    """Return the model that frames of different sizes and contents suggest.

    Args:
        samples: of two sizes or more, all with the same parts.
        parallel: whether networks ran at the same time.
    """
    sizes = [sample.megapixels for sample in samples]
    features = [float(sample.features) for sample in samples]
    parts = {}
    for name in samples[0].parts_ms:
        over = {"megapixels": sizes, "features": features, "": [0.0] * len(samples)}[_over(name)]
        parts[name] = straight(over, [sample.parts_ms[name] for sample in samples])
    left = [sample.age_ms - busy_ms(sample.parts_ms, parallel) for sample in samples]
    flat = CostModel(parts=parts, rest=straight(sizes, left), parallel=parallel, spread=np.ones(1))
    usual = [flat.age_ms(sample.megapixels, sample.features) for sample in samples]
    ages = np.array([sample.age_ms for sample in samples])
    return CostModel(
        parts=flat.parts, rest=flat.rest, parallel=parallel, spread=np.sort(ages / usual)
    )


def straight(x: Sequence[float], y: Sequence[float]) -> Line:
    """Return the line through points by the median of their slopes, none of which is below 0.

    Work never becomes less with more pixels or features; where it seems to, that is noise.
    """
    step = -(-len(x) // _MOST_POINTS)
    across, up = np.asarray(x, np.float64)[::step], np.asarray(y, np.float64)[::step]
    gap = np.subtract.outer(across, across)
    apart = gap > 0
    slopes = np.subtract.outer(up, up)[apart] / gap[apart]
    each = max(0.0, float(np.median(slopes))) if len(slopes) else 0.0
    return Line(float(np.median(up - each * across)), each)


def newest_first(service_ms: Sequence[float], period_ms: float) -> tuple[list[float], float]:
    """Let frames arrive at a slot that keeps the newest, and return ages and the share lost.

    Args:
        service_ms: what the frames take that are worked on, in turn.
        period_ms: between two arrivals.
    """
    free, ages, taken = 0.0, [], -1
    for service in service_ms:
        # The newest that is there when the worker is free, or the next one.
        newest = max(int(free // period_ms), taken + 1)
        begin = max(free, newest * period_ms)
        free = begin + service
        ages.append(free - newest * period_ms)
        taken = newest
    return ages, 1.0 - len(ages) / (taken + 1)


def _over(name: str) -> str:
    """Return what a part's cost depends on."""
    part = name.split()[-1]
    if part in ("preprocess", "rest"):
        return "megapixels"
    return "features" if name == "segment postprocess" else ""


def _unit(name: str, megapixels: float, features: float) -> float:
    return {"megapixels": megapixels, "features": features, "": 0.0}[_over(name)]
