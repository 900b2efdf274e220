"""Cross-validation: a training for every fold, and one table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rille.bundle.manifest import Decision, LabelEntry
from rille.datasets import Dataset, open_dataset
from rille.errors import DatasetError
from rille.files import write_whole
from rille.scene_scores import fitted_thresholds, label_report
from rille_train.folds import Fold, number_of_folds
from rille_train.recipe import Recipe
from rille_train.trials.jobs import Job, JobResult, Material, answers
from rille_train.trials.runners import Workers, run_jobs


def cross_validate(
    recipe: Recipe,
    material: Material,
    out: Path,
    *,
    count: int,
    by: str = "",
    workers: Workers | None = None,
) -> dict[str, Any]:
    """Train and score a recipe on every fold of its training and validation splits together.

    A fold that is finished is not trained again, so a killed cross-validation goes on. Writes
    `folds.json` and a run folder for each fold.

    Args:
        recipe: what to train; its splits `data.train` and `data.validation` are pooled.
        material: data and weights.
        out: folder for all of it.
        count: number of folds; 0 holds out every group in turn.
        by: kind of the data set's keys to group by ("sol"); empty for the samples' own groups.
        workers: who trains the folds; None for this process, one after another.

    Returns:
        The content of `folds.json`: the scores of each fold, their mean and deviation, and, for
        independent labels, the scores of all held-out answers pooled.

    Raises:
        ConfigError: folds that cannot be made, or workers that cannot be had.
        DatasetError: some fold failed; those that did not are kept.
    """
    whole = open_dataset(material.root, recipe.task)
    jobs = fold_jobs(recipe, material, out, count=count, by=by)
    results = run_jobs(jobs, workers or Workers())
    failed = [f"{result.name}: {result.error}" for result in results if result.error]
    if failed:
        raise DatasetError(f"{len(failed)} of {len(jobs)} folds failed: {'; '.join(failed)}")
    table = {**summary(results), "pooled": _pooled(recipe, whole, jobs)}
    write_whole(out / "folds.json", json.dumps(table, indent=1) + "\n")
    return table


def fold_jobs(
    recipe: Recipe, material: Material, out: Path, *, count: int, by: str, prefix: str = ""
) -> list[Job]:
    """Return a job for every fold; see `cross_validate`.

    Args:
        prefix: put before the names of the jobs.
    """
    whole = open_dataset(material.root, recipe.task)
    return [
        Job(
            name=f"{prefix}fold-{number + 1:02d}",
            recipe=recipe,
            material=material,
            out=out / f"fold-{number + 1:02d}",
            fold=Fold(count=count, number=number, by=by),
        )
        for number in range(number_of_folds(whole, recipe, count, by))
    ]


def summary(results: Sequence[JobResult]) -> dict[str, Any]:
    """Return the scores of each fold, and mean and standard deviation over folds (n - 1)."""
    rows = [{**asdict(r), **r.scores} for r in results]
    for row in rows:
        for key in ("scores", "deciding", "error", "name"):
            del row[key]
    values = {name: [r.scores[name] for r in results] for name in results[0].scores}
    spread = {name: float(np.std(v, ddof=1)) if len(v) > 1 else 0.0 for name, v in values.items()}
    mean = {name: float(np.mean(v)) for name, v in values.items()}
    return {"folds": rows, "mean": mean, "deviation": spread}


def _pooled(recipe: Recipe, whole: Dataset, jobs: Sequence[Job]) -> dict[str, Any] | None:
    """Score the held-out answers of all folds together; thresholds of a fold from the others."""
    if recipe.task != "multilabel":
        return None
    parts = [answers(job) for job in jobs]
    logits = np.concatenate([part[0] for part in parts])
    truth = np.concatenate([part[1] for part in parts])
    fold = np.repeat(np.arange(len(parts)), [len(part[1]) for part in parts])
    # Logits less their own threshold: 0.5 is then the threshold of every fold.
    shifted = logits.copy()
    for number in range(len(parts)):
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
