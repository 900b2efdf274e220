"""How far a score can be trusted: intervals, calibration, abstention. NumPy alone.

Images of one burst, scene or session are not independent. Everything here that resamples or
weighs therefore goes by *group*, as data sets state it (`rille.datasets.Sample`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES = 2000
BINS = 15
_DRAWS_AT_ONCE = 4_000_000


def bootstrap_interval(
    terms: NDArray[Any],
    groups: Sequence[str],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile interval of a cluster bootstrap.

    As many groups as there are get drawn with replacement, whole (Davison and Hinkley 1997,
    section 3.8); the interval lies between the quantiles of the statistic over the draws (Efron
    and Tibshirani 1993, section 13.3). It is too narrow for fewer than about 20 groups, and has no
    width where every group agrees.

    Args:
        terms: (n, k) what each sample adds to the k sums that the statistic is made from.
        groups: the group of each sample.
        statistic: from sums (r, k) of r draws to r figures.
        level: share of the draws inside the interval.
        resamples: number of draws.
        seed: seed of the draws.

    Raises:
        ValueError: no samples, or lengths that differ.
    """
    if not len(terms) or len(terms) != len(groups):
        raise ValueError(f"{len(terms)} samples and {len(groups)} groups cannot be resampled")
    sums = _group_sums(np.asarray(terms, np.float64), groups)
    count, rng = len(sums), np.random.default_rng(seed)
    rows = max(1, _DRAWS_AT_ONCE // count)
    figures = []
    for start in range(0, resamples, rows):
        many = min(rows, resamples - start)
        drawn = rng.integers(count, size=(many, count)) + count * np.arange(many)[:, None]
        times = np.bincount(drawn.ravel(), minlength=many * count).reshape(many, count)
        figures.append(statistic(times @ sums))
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(figures), (tail, 1 - tail))
    return float(low), float(high)


def _group_sums(terms: NDArray[np.float64], groups: Sequence[str]) -> NDArray[np.float64]:
    """Return the (groups, k) sums of (n, k) terms over each group."""
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((len(names), terms.shape[1]))
    np.add.at(sums, index, terms)
    return sums


def ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return first over second of (r, 2) sums, 1 where the second is 0: a statistic."""
    return np.divide(sums[:, 0], sums[:, 1], out=np.ones(len(sums)), where=sums[:, 1] > 0)


def macro_f1_terms(truth: Sequence[int], answer: Sequence[int], classes: int) -> NDArray[np.int64]:
    """Return the (n, 3 * classes) terms of `macro_f1`, from class indices in [0, classes).

    The thirds count right answers, labels and answers by class.
    """
    one = np.eye(classes, dtype=np.int64)
    labels, answers = one[np.asarray(truth)], one[np.asarray(answer)]
    return np.concatenate([labels * answers, labels, answers], axis=1)


def macro_f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean F1 of the classes with a label, from (r, 3 * classes) sums: a statistic.

    F1 is 2 * right / (labels + answers), which equals 2PR / (P + R). A draw that misses every
    group of a class is scored on the classes it has, so rare classes widen the interval.
    """
    right, labels, answers = np.split(sums, 3, axis=1)
    f1 = 2 * right / np.maximum(labels + answers, 1)
    present = labels > 0
    return np.asarray((f1 * present).sum(1) / present.sum(1), np.float64)


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of about one probability.

    Attributes:
        low, high: the bin covers [low, high) of the probability; the last one also `high` itself.
        count: answers in it.
        probability: their mean probability.
        accuracy: share of them that are right.
    """

    low: float
    high: float
    count: int
    probability: float
    accuracy: float


def reliability(
    probability: NDArray[np.floating[Any]],
    right: NDArray[np.bool_],
    bins: int = BINS,
    *,
    equal_mass: bool = False,
) -> list[Bin]:
    """Return how often answers of a stated probability are right; empty bins are left out.

    Args:
        probability: (n,) probability of the answer given, 0 to 1.
        right: (n,) whether that answer was right.
        bins: number of bins.
        equal_mass: bins of equally many answers instead of equal width (Nguyen and O'Connor 2015);
            answers of one probability stay together.
    """
    inner = np.arange(1, bins) / bins
    if equal_mass:
        ranks = np.round(inner * len(probability)).astype(int)
        inner = np.unique(np.sort(probability)[np.minimum(ranks, len(probability) - 1)])
    edges = np.concatenate([[0.0], inner, [1.0]])
    index = np.searchsorted(inner, probability, side="right")
    found = []
    for k in np.unique(index):
        inside = index == k
        found.append(
            Bin(
                low=float(edges[k]),
                high=float(edges[k + 1]),
                count=int(inside.sum()),
                probability=float(probability[inside].mean(dtype=np.float64)),
                accuracy=float(right[inside].mean()),
            )
        )
    return found


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error: mean gap of accuracy and probability over the answers.

    With bins of equal width that of Naeini et al. (2015) and Guo et al. (2017); with bins of equal
    mass the adaptive one (Nixon et al. 2019, for the top answer alone).
    """
    total = sum(b.count for b in bins)
    return sum(b.count * abs(b.accuracy - b.probability) for b in bins) / total


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """What abstaining buys.

    Attributes:
        coverage: (n,) share of the images answered, 1/n to 1, the surest first.
        risk: (n,) share of those answers that are wrong.
        area: mean risk over all coverages (AURC); 0 for a network without errors.
    """

    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]
    area: float

    def points(self, count: int = 20) -> list[tuple[float, float]]:
        """Return (coverage, risk) at `count` equally spaced coverages, the last of them 1."""
        ranks = np.ceil(np.arange(1, count + 1) / count * len(self.risk)).astype(int) - 1
        return [(float(self.coverage[k]), float(self.risk[k])) for k in ranks]


def risk_coverage(confidence: NDArray[np.floating[Any]], right: NDArray[np.bool_]) -> RiskCoverage:
    """Return the risk-coverage curve and its area (Geifman and El-Yaniv 2017; Geifman et al. 2019).

    Answers of equal confidence share their errors, as if drawn in random order: the curve does not
    depend on the order of the samples.

    Args:
        confidence: (n,) what answers are ranked by.
        right: (n,) whether each answer was right.

    Raises:
        ValueError: no answers.
    """
    if not len(right):
        raise ValueError("no answers: there is no risk to state")
    _, index, sizes = np.unique(-confidence, return_inverse=True, return_counts=True)
    shared = np.bincount(index, weights=~right) / sizes
    answered = np.arange(1, len(right) + 1)
    risk = np.cumsum(np.repeat(shared, sizes)) / answered
    return RiskCoverage(answered / len(right), risk, float(risk.mean()))


def group_weights(groups: Sequence[str]) -> NDArray[np.float64]:
    """Return (n,) one over the size of each sample's group."""
    _, index, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return np.asarray(1.0 / sizes[index], np.float64)


def group_weighted_accuracy(right: NDArray[np.bool_], groups: Sequence[str]) -> float:
    """Return the mean over the groups of the share of right answers in each.

    A burst of a hundred images of one wheel counts as much as a single image of a drill hole.
    """
    return float(np.average(right, weights=group_weights(groups)))
