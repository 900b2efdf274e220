"""The folder a training run leaves behind; `rille export` starts from it.

model.keras       the network, float32
contract.json     what it is for and how to use it, and where it came from
recipe.toml       the recipe, every default written out
history.json      losses and scores by epoch
validation.json   scores of the final weights
examples/         a few validation images with answer and truth
report.html       all of it on one page; `rille train --report RUN` draws it again
resume/           only while training: the last complete epoch
"""

from __future__ import annotations

import hashlib
import importlib
import json
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

import rille
from rille.bundle.manifest import Contract
from rille.datasets import Dataset, samples_of
from rille.datasets.base import listing_digest
from rille.errors import ConfigError
from rille.files import write_whole
from rille.schema import to_toml
from rille_train.phases import Outcome
from rille_train.recipe import Recipe


def claim_run(out: Path, recipe: Recipe) -> None:
    """Make the run folder, or check that a folder to be continued belongs to the same recipe.

    Raises:
        ConfigError: it belongs to another recipe, or cannot be written.
    """
    resolved, file = to_toml(asdict(recipe)), out / "recipe.toml"
    try:
        if file.is_file() and file.read_text(encoding="utf-8") != resolved:
            raise ConfigError(
                f"{out}: holds a run of another recipe; choose another --out, or remove the folder"
            )
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(resolved, encoding="utf-8")
    except OSError as wrong:
        raise ConfigError(f"{out}: cannot be written ({wrong.strerror})") from None


def write_run(
    out: Path,
    recipe: Recipe,
    contract: Contract,
    model: Any,
    outcome: Outcome,
    datasets: Sequence[Dataset],
    *,
    backbone: Path | None = None,
    flaws: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write everything a finished run leaves, each file complete or not at all.

    Args:
        out: the folder.
        recipe, contract: what was trained, and for what.
        model: with the weights that are kept.
        outcome: history and scores; phases, if there were two, go into every record.
        datasets: what it was trained on.
        backbone: file of the weights it started from.
        flaws: in words, why training and validation are not independent ("leaks"), and what is
            damaged and was left out ("unreadable").
    """
    partial = out / "partial.keras"
    model.save(partial)
    partial.replace(out / "model.keras")
    dataset, *others = datasets
    samples = samples_of(dataset, recipe.data.train)
    framework = importlib.import_module(keras.backend.backend())
    record = {
        "contract": asdict(contract),
        "data": {"train": recipe.data.train, "validation": recipe.data.validation},
        "provenance": {
            "recipe": to_toml(asdict(recipe)),
            "dataset": dataset.name,
            "train_split": recipe.data.train,
            "train_images": len(samples),
            "train_listing_sha256": listing_digest(samples, dataset.root),
            "extra": [_origin(other, recipe) for other in others],
            "parameters": int(model.count_params()),
            **{kind: list(reasons) for kind, reasons in (flaws or {}).items()},
            "backbone": _file_origin(backbone),
            **({"phases": outcome.phases} if outcome.phases else {}),
            "trained_with": f"keras {keras.__version__}, {framework.__name__} "
            f"{framework.__version__}, python {platform.python_version()}, "
            f"rille {rille.__version__}",
            "trained_on": time.strftime("%Y-%m-%d", time.gmtime()),
        },
    }
    write_json(out / "contract.json", record)
    phases = {"phases": outcome.phases} if outcome.phases else {}
    write_json(out / "history.json", {**outcome.history, **phases})
    write_json(out / "validation.json", outcome.result.detail)
    shutil.rmtree(out / "resume", ignore_errors=True)


def _file_origin(path: Path | None) -> dict[str, str] | None:
    if path is None:
        return None
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _origin(dataset: Dataset, recipe: Recipe) -> dict[str, Any]:
    samples = samples_of(dataset, recipe.data.train)
    return {
        "dataset": dataset.name,
        "images": len(samples),
        "listing_sha256": listing_digest(samples, dataset.root),
    }


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, complete or not at all.

    Raises:
        SinkError: it cannot be written.
    """
    write_whole(path, json.dumps(content, indent=1, default=float) + "\n")
