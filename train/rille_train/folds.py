"""Cross-validation by groups: images that are not independent never stand on both sides."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rille.datasets import Dataset, ImageSample, MultiLabelSample, Sample
from rille.datasets.base import samples_of
from rille.errors import ConfigError, nearest
from rille_train.recipe import Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """One fold of several.

    Attributes:
        count: number of folds; 0 makes one of every group.
        number: which, from 0.
        by: kind of the data set's keys to group by ("sol"); empty for the samples' own groups.
    """

    count: int
    number: int
    by: str = ""


class FoldDataset:
    """A data set whose splits are those of one fold; see `rille.datasets.Dataset`.

    Args:
        whole: where the samples come from.
        samples: of the whole, with the group of each.
        held: groups held out; the others are trained on.

    Attributes:
        held: names of the groups held out.
        uneven: classes that are; see `uneven_classes`.
    """

    def __init__(
        self, whole: Dataset, samples: Sequence[tuple[Sample, str]], held: frozenset[str]
    ) -> None:
        self.name, self.root, self.task, self.labels = (
            whole.name,
            whole.root,
            whole.task,
            whole.labels,
        )
        self._sides = {
            "train": [sample for sample, group in samples if group not in held],
            "val": [sample for sample, group in samples if group in held],
        }
        self.keys = whole.keys
        self.held = tuple(sorted(held))
        self.uneven = tuple(uneven_classes(self._sides["val"], [s for s, _ in samples]))

    def splits(self) -> list[str]:
        """Return "train" and "val"."""
        return ["train", "val"]

    def samples(self, split: str) -> list[Sample]:
        """Return the samples on one side of the fold."""
        return self._sides[split]


def grouped_folds(
    samples: Sequence[tuple[Sample, str]], count: int, seed: int
) -> list[frozenset[str]]:
    """Deal groups into folds with classes as even as groups allow.

    The largest groups first, each to the fold that is then closest to an even share of every
    class (as scikit-learn's StratifiedGroupKFold does).

    Args:
        samples: all of them, with the group of each.
        count: number of folds; 0 makes a fold of every group.
        seed: order among groups of equal size.

    Raises:
        ConfigError: fewer groups than folds.
    """
    groups: dict[str, Counter[object]] = defaultdict(Counter)
    for sample, group in samples:
        groups[group].update(_classes(sample))
    if count == 0:
        return [frozenset({name}) for name in sorted(groups)]
    if len(groups) < count or count < 2:
        raise ConfigError(
            f"{count} folds need at least 2 and at most as many as there are groups ({len(groups)})"
        )
    kinds = sorted({kind for counter in groups.values() for kind in counter}, key=str)
    table = {name: np.array([c[kind] for kind in kinds], float) for name, c in groups.items()}
    total = np.sum(list(table.values()), axis=0)
    rng = np.random.default_rng(seed)
    names = [sorted(table)[k] for k in rng.permutation(len(table))]
    names.sort(key=lambda name: -table[name].sum())
    sums = np.zeros((count, len(kinds)))
    folds: list[set[str]] = [set() for _ in range(count)]
    for name in names:
        spread = [_spread(sums, fold, table[name], total) for fold in range(count)]
        chosen = int(np.argmin(spread))
        sums[chosen] += table[name]
        folds[chosen].add(name)
    return [frozenset(fold) for fold in folds]


def uneven_classes(held: Sequence[Sample], every: Sequence[Sample]) -> list[str]:
    """Return the classes whose share of a fold is not within a fifth of their share of all.

    Args:
        held: samples of the fold.
        every: all samples.

    Returns:
        Class ids, or places of labels that hold, as text; groups that cannot be divided leave no
        better folds, so this is reported and not refused.
    """
    here, all_of = (Counter(k for s in part for k in _classes(s)) for part in (held, every))
    limits = {kind: n * len(held) / max(len(every), 1) for kind, n in all_of.items()}
    return sorted(
        str(kind)
        for kind, wanted in limits.items()
        if kind != "image" and not 0.8 * wanted <= here[kind] <= 1.2 * wanted
    )


def _spread(
    sums: NDArray[np.float64], fold: int, added: NDArray[np.float64], total: NDArray[np.float64]
) -> float:
    after = sums.copy()
    after[fold] += added
    return float((after / total).std(axis=0).mean() + 1e-6 * after[fold].sum() / total.sum())


def _classes(sample: Sample) -> list[object]:
    """Return what a sample counts as: its class, or each label that holds, and one for itself."""
    if isinstance(sample, ImageSample):
        return [sample.label_id]
    if isinstance(sample, MultiLabelSample):
        return ["image", *(k for k, holds in enumerate(sample.holds) if holds)]
    return ["image"]


def number_of_folds(whole: Dataset, recipe: Recipe, count: int, by: str) -> int:
    """Return how many folds there are, 0 standing for one of every group.

    Raises:
        ConfigError: fewer groups than folds, or no such kind of group.
    """
    return len(grouped_folds(_grouped(whole, recipe, by), count, recipe.fit.seed))


def deal(whole: Dataset, recipe: Recipe, fold: Fold) -> FoldDataset:
    """Return one fold of a recipe's training and validation splits together.

    Args:
        whole: the data set.
        recipe: names the splits, and the seed of the dealing.
        fold: which fold.

    Raises:
        ConfigError: fewer groups than folds, or no such kind of group.
    """
    samples = _grouped(whole, recipe, fold.by)
    held = grouped_folds(samples, fold.count, recipe.fit.seed)[fold.number]
    return FoldDataset(whole, samples, held)


def _grouped(whole: Dataset, recipe: Recipe, by: str) -> list[tuple[Sample, str]]:
    pool = f"{recipe.data.train}+{recipe.data.validation}"
    return [(sample, _group(whole, sample, by)) for sample in samples_of(whole, pool)]


def _group(dataset: Dataset, sample: Sample, by: str) -> str:
    keys = dataset.keys(sample)
    if by and by not in keys:
        raise ConfigError(
            f"--fold-by {by}: {dataset.name} has no such key{nearest(by, list(keys))} "
            f"(known: {', '.join(keys)})"
        )
    return keys[by] if by else sample.group
