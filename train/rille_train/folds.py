"""Cross-validation by groups: images that are not independent never stand on both sides."""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.datasets import Dataset, ImageSample, MultiLabelSample, Sample, open_dataset
from rille.datasets.base import samples_of
from rille.errors import ConfigError, nearest
from rille.evaluate import Evaluation
from rille.files import write_whole
from rille_train.loop import train_on
from rille_train.recipe import Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray


class FoldDataset:
    """A data set whose splits are those of one fold; see `rille.datasets.Dataset`.

    Args:
        whole: where the samples come from.
        samples: of the whole, with the group of each.
        held: groups held out; the others are trained on.
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


def cross_validate(
    recipe: Recipe,
    root: Path,
    out: Path,
    *,
    count: int,
    by: str = "",
    weights: Path | None = None,
    extra: Sequence[Path] = (),
) -> dict[str, Any]:
    """Train and score a recipe on every fold of its training and validation splits together.

    A fold that is finished is not trained again, so a killed cross-validation goes on. Writes
    `folds.json` and a run folder for each fold.

    Args:
        recipe: what to train; its splits `data.train` and `data.validation` are pooled.
        root: folder of the data set.
        out: folder for all of it.
        count: number of folds; 0 holds out every group in turn.
        by: kind of the data set's keys to group by ("sol"); empty for the samples' own groups.
        weights: see `rille_train.loop.train`.
        extra: likewise.

    Returns:
        The content of `folds.json`: the scores of each fold, their mean and deviation, and, for
        independent labels, the scores of all held-out answers pooled.
    """
    whole = open_dataset(root, recipe.task)
    others = [open_dataset(folder, recipe.task) for folder in extra]
    pool = f"{recipe.data.train}+{recipe.data.validation}"
    every = samples_of(whole, pool)
    samples = [(sample, _group(whole, sample, by)) for sample in every]
    data = replace(recipe.data, train="train", validation="val")
    rows: list[dict[str, Any]] = []
    results: list[Evaluation] = []
    for number, held in enumerate(grouped_folds(samples, count, recipe.fit.seed), 1):
        fold = FoldDataset(whole, samples, held)
        sys.stderr.write(f"fold {number}: {len(fold.samples('val'))} images held out\n")
        folder = out / f"fold-{number:02d}"
        result = train_on(replace(recipe, data=data), [fold, *others], folder, weights)
        rows.append(
            {
                "held": sorted(held),
                "images": len(fold.samples("val")),
                "uneven": uneven_classes(fold.samples("val"), every),
                **result.scores,
            }
        )
        results.append(result)
    names = list(results[0].scores)
    values = {name: [row[name] for row in rows] for name in names}
    table = {
        "folds": rows,
        "mean": {name: float(np.mean(v)) for name, v in values.items()},
        "deviation": {name: float(np.std(v, ddof=1)) for name, v in values.items()},
        "pooled": _pooled(recipe, whole, results),
    }
    write_whole(out / "folds.json", json.dumps(table, indent=1) + "\n")
    return table


def _group(dataset: Dataset, sample: Sample, by: str) -> str:
    keys = dataset.keys(sample)
    if by and by not in keys:
        raise ConfigError(
            f"--fold-by {by}: {dataset.name} has no such key{nearest(by, list(keys))} "
            f"(known: {', '.join(keys)})"
        )
    return keys[by] if by else sample.group


def _pooled(recipe: Recipe, whole: Dataset, results: Sequence[Evaluation]) -> dict[str, Any] | None:
    """Score the held-out answers of all folds together; thresholds of a fold from the others."""
    if recipe.task != "multilabel":
        return None
    from rille.bundle.manifest import Decision, LabelEntry
    from rille.scene_scores import fitted_thresholds, label_report

    logits = np.concatenate([result.logits for result in results])
    truth = np.concatenate([result.truth for result in results])
    fold = np.repeat(np.arange(len(results)), [len(result.truth) for result in results])
    # Logits less their own threshold: 0.5 is then the threshold of every fold.
    shifted = logits.copy()
    for number in range(len(results)):
        here = fold == number
        shifted[here] -= fitted_thresholds(logits[~here], truth[~here])
    labels = tuple(LabelEntry(id=label.id, name=label.name) for label in whole.labels)
    at_threshold, detail = label_report(shifted, truth, labels, Decision())
    plain, _ = label_report(logits, truth, labels, Decision())
    return {
        "macro_f1": at_threshold["macro_f1"],
        "macro_ap": plain["macro_ap"],
        "macro_f1_at_half": plain["macro_f1"],
        "per_label": detail["per_label"],
        "definition": "all held-out answers together; thresholds of a fold fitted on the others",
    }
