"""Hyper-parameter search: points of a space, each trained on its own, in one table.

A trial depends on the space, the seed and its number alone, never on how another one went. So
trials run in any order and anywhere, and a search that was killed goes on.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rille.datasets import open_dataset
from rille.errors import ConfigError
from rille.files import write_whole
from rille_train.recipe import read_recipe
from rille_train.trials.cross_validation import fold_jobs, summary
from rille_train.trials.jobs import Job, JobResult, Material
from rille_train.trials.runners import Workers, run_jobs


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One setting of a recipe that a search varies.

    Attributes:
        key: "fit.learning_rate".
        choices: values as text; empty for a range.
        low, high: ends of a range.
        whole: whether its values are whole numbers.
        log: whether the logarithm is drawn evenly.
    """

    key: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    log: bool = False

    @classmethod
    def parse(cls, text: str) -> Axis:
        """Read "KEY=A,B,C", "KEY=LOW..HIGH" or "KEY=LOW..HIGH:log".

        Raises:
            ConfigError: it is none of these.
        """
        key, equals, values = (part.strip() for part in text.partition("="))
        if not equals or "." not in key or not values:
            raise ConfigError(f"--over {text}: expected section.key=A,B,C or section.key=LOW..HIGH")
        if ".." not in values:
            return cls(key=key, choices=tuple(_split(values)))
        ends, _, scale = values.partition(":")
        low, _, high = ends.partition("..")
        try:
            axis = cls(
                key=key,
                low=float(low),
                high=float(high),
                whole=low.strip().isdigit() and high.strip().isdigit(),
                log=scale == "log",
            )
        except ValueError:
            raise ConfigError(f"--over {text}: {ends} is no range of numbers") from None
        if scale not in ("", "log") or not axis.low < axis.high or (axis.log and axis.low <= 0):
            raise ConfigError(f"--over {text}: a range is LOW..HIGH, with :log above 0")
        return axis

    def draw(self, rng: np.random.Generator) -> str:
        """Return a value as text."""
        if self.choices:
            return self.choices[int(rng.integers(len(self.choices)))]
        if self.log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = float(rng.uniform(self.low, self.high + (1 if self.whole else 0)))
        return str(min(int(value), int(self.high))) if self.whole else f"{value:.4g}"


def points(axes: Sequence[Axis], trials: int | None, seed: int) -> list[tuple[str, ...]]:
    """Return the settings of each trial.

    Args:
        axes: what varies.
        trials: how many points to draw at random; None for every combination of choices.
        seed: of the drawing.

    Raises:
        ConfigError: nothing varies, or a range without a number of trials.
    """
    if not axes:
        raise ConfigError("a search needs at least one --over section.key=A,B,C")
    if trials is None:
        ranges = [axis.key for axis in axes if not axis.choices]
        if ranges:
            raise ConfigError(f"{', '.join(ranges)}: a range needs --trials N")
        every = itertools.product(*(axis.choices for axis in axes))
        return [_settings(axes, values) for values in every]
    if trials < 1:
        raise ConfigError("--trials must be at least 1")
    # A point that was drawn before is drawn again: a dict keeps the order.
    drawn: dict[tuple[str, ...], None] = {}
    for attempt in range(100 * trials):
        rngs = [np.random.default_rng([seed, attempt, k]) for k in range(len(axes))]
        values = [axis.draw(rng) for axis, rng in zip(axes, rngs, strict=True)]
        drawn[_settings(axes, values)] = None
        if len(drawn) == trials:
            return list(drawn)
    raise ConfigError(f"--trials {trials}: the space has only {len(drawn)} different points")


def search(
    reference: str,
    settings: Sequence[str],
    axes: Sequence[Axis],
    material: Material,
    out: Path,
    *,
    trials: int | None = None,
    folds: int | None = None,
    by: str = "",
    workers: Workers | None = None,
) -> dict[str, Any]:
    """Train a recipe at every point of a space and rank the points.

    Args:
        reference: name or path of the recipe.
        settings: changes to it that all trials share.
        axes: what varies.
        material: data and weights.
        out: folder for all of it; `trials.json` is the table.
        trials: see `points`; the recipe's seed is that of the drawing.
        folds: score each point by cross-validation; None for the recipe's own validation split.
        by: see `cross_validate`.
        workers: who trains; None for this process, one after another.

    Returns:
        The content of `trials.json`, the best trial first, failed ones last.

    Raises:
        ConfigError: a space, recipe or workers that do not fit.
        DatasetError: the data set does not fit.
    """
    base = read_recipe(reference, list(settings))
    drawn = points(axes, trials, base.fit.seed)
    recipes = [read_recipe(reference, [*settings, *point]) for point in drawn]
    open_dataset(material.root, base.task)  # a wrong folder is refused once, not by every trial
    jobs = []
    for number, recipe in enumerate(recipes, 1):
        name = f"trial-{number:03d}"
        if folds is None:
            jobs.append([Job(name=name, recipe=recipe, material=material, out=out / name)])
        else:
            dealt = fold_jobs(recipe, material, out / name, count=folds, by=by, prefix=f"{name}/")
            jobs.append(dealt)
    results = iter(run_jobs([job for group in jobs for job in group], workers or Workers()))
    rows = [
        _row(f"trial-{number:03d}", point, [next(results) for _ in group])
        for number, (group, point) in enumerate(zip(jobs, drawn, strict=True), 1)
    ]
    rows.sort(key=lambda row: -row["score"] if row["score"] is not None else math.inf)
    table = {
        "recipe": base.name,
        "settings": list(settings),
        "over": [axis.key for axis in axes],
        "deciding": next((row["deciding"] for row in rows if row["deciding"]), ""),
        "folds": folds,
        "fold_by": by,
        "trials": rows,
    }
    write_whole(out / "trials.json", json.dumps(table, indent=1) + "\n")
    return table


def _row(name: str, point: Sequence[str], results: Sequence[JobResult]) -> dict[str, Any]:
    """Return a trial's row; a trial with a failed fold has no score."""
    errors = [result.error for result in results if result.error]
    row: dict[str, Any] = {"name": name, "settings": list(point), "error": "; ".join(errors)}
    if errors:
        return {**row, "score": None, "deciding": "", "mean": {}, "deviation": {}, "seconds": 0.0}
    table, deciding = summary(results), results[0].deciding
    return {
        **row,
        "score": table["mean"][deciding],
        "deciding": deciding,
        "mean": table["mean"],
        "deviation": table["deviation"] if len(results) > 1 else {},
        "seconds": sum(result.seconds for result in results),
    }


def _settings(axes: Sequence[Axis], values: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{axis.key}={value}" for axis, value in zip(axes, values, strict=True))


def _split(text: str) -> list[str]:
    """Split at commas that stand in no brackets."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "[{") - (sign in "]}")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]
