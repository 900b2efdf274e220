"""One training among many: what it needs, and what is kept of it.

Nothing here imports a framework before a job runs, so that a worker can first be told which
backend and how many threads to use.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rille.datasets import open_dataset
from rille.errors import ConfigError, RilleError
from rille.files import write_whole
from rille_train.folds import Fold, deal
from rille_train.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np

_DONE, _ANSWERS = "job.json", "answers.npz"


@dataclass(frozen=True, slots=True)
class Material:
    """What a training reads; see `rille_train.loop.train`.

    Attributes:
        root: folder of the data set.
        weights: file or folder with backbone weights.
        extra: folders of further data sets to draw training images from.
        skip_unreadable: leave damaged images out instead of stopping.
    """

    root: Path
    weights: Path | None = None
    extra: tuple[Path, ...] = ()
    skip_unreadable: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One training.

    Attributes:
        name: "fold-01", "trial-007".
        recipe: what to train.
        material: data and weights.
        out: its own run folder.
        fold: train on this fold of the data set and score on what it holds out; None for the
            recipe's own splits.
    """

    name: str
    recipe: Recipe
    material: Material
    out: Path
    fold: Fold | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobResult:
    """What came of a job.

    Attributes:
        name: of the job.
        scores: by name; empty where it failed.
        deciding: name of the score that ranks networks of this task.
        held: groups held out; empty without folds.
        images: number scored; 0 without folds.
        uneven: classes that a fold holds too many or too few of.
        seconds: spent in the process that finished it.
        error: why it failed, or "".
    """

    name: str
    scores: dict[str, float]
    deciding: str = ""
    held: tuple[str, ...] = ()
    images: int = 0
    uneven: tuple[str, ...] = ()
    seconds: float = 0.0
    error: str = ""


def run_job(job: Job) -> JobResult:
    """Train and score one job, or return what is on disk if that is done already.

    Raises:
        RilleError: whatever stops the training.
    """
    from rille_train.course import monitored
    from rille_train.loop import train_on
    from rille_train.run_folder import claim_run

    recipe = job.recipe
    if job.fold is not None:
        recipe = replace(recipe, data=replace(recipe.data, train="train", validation="val"))
    claim_run(job.out, recipe)
    if (job.out / _DONE).is_file():
        return _finished(job)
    started = time.monotonic()
    read = job.material
    datasets = [open_dataset(folder, recipe.task) for folder in (read.root, *read.extra)]
    held, images, uneven = tuple[str, ...](), 0, tuple[str, ...]()
    if job.fold is not None:
        part = deal(datasets[0], job.recipe, job.fold)
        datasets[0], held, uneven = part, part.held, part.uneven
        images = len(part.samples("val"))
    result = train_on(recipe, datasets, job.out, read.weights, skip_unreadable=read.skip_unreadable)
    if job.fold is not None and result.logits is not None:
        _keep_answers(job.out, result.logits, result.truth)
    done = JobResult(
        name=job.name,
        scores=dict(result.scores),
        deciding=monitored(result.scores, recipe.one_mask)[0],
        held=held,
        images=images,
        uneven=uneven,
        seconds=time.monotonic() - started,
    )
    write_whole(job.out / _DONE, json.dumps(asdict(done), indent=1) + "\n")
    return done


def run_apart(job: Job, environment: Mapping[str, str]) -> JobResult:
    """Run a job in a process of its own, its progress in `log.txt` of the run folder.

    Args:
        job: the job.
        environment: variables to set before a framework is imported.

    Returns:
        The result; a failure that rille can explain is in `error`.
    """
    os.environ.update(environment)
    job.out.mkdir(parents=True, exist_ok=True)
    with (
        (job.out / "log.txt").open("a", encoding="utf-8") as log,
        contextlib.redirect_stderr(log),
        contextlib.redirect_stdout(log),
    ):
        return attempt(job)


def attempt(job: Job) -> JobResult:
    """Run a job; a failure that rille can explain becomes part of the result."""
    try:
        return run_job(job)
    except RilleError as wrong:
        return JobResult(name=job.name, scores={}, error=str(wrong))


def answers(job: Job) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return logits and truth of what a finished fold held out; see `Evaluation`."""
    import numpy as np

    with np.load(job.out / _ANSWERS, allow_pickle=False) as archive:
        return archive["logits"], archive["truth"]


def _keep_answers(out: Path, logits: Any, truth: Any) -> None:
    import numpy as np

    partial = out / f"partial-{_ANSWERS}"
    np.savez(partial, logits=logits, truth=truth)
    partial.replace(out / _ANSWERS)


def _finished(job: Job) -> JobResult:
    table = json.loads((job.out / _DONE).read_text(encoding="utf-8"))
    table["held"], table["uneven"] = tuple(table["held"]), tuple(table["uneven"])
    result = JobResult(**table)
    if job.fold is None:
        return result
    part = deal(open_dataset(job.material.root, job.recipe.task), job.recipe, job.fold)
    if result.held != part.held:
        raise ConfigError(
            f"{job.out}: holds another fold (other data, number of folds or --fold-by); choose "
            "another --out, or remove the folder"
        )
    return result
