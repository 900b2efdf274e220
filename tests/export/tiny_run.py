"""A finished training run of a network so small that exporting it takes a second."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rille.bundle.manifest import Contract, Decision, LabelEntry

LABELS = ((0, "apxs"), (1, "apxs cal target"), (5, "drill holes"))


def tiny_model() -> Any:
    """A small classifier that tells the colours of the made data set apart, without training."""
    keras.config.set_dtype_policy("float32")
    image = keras.Input((32, 32, 3), name="input")
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    logits = keras.layers.Dense(3, name="logits")(pooled)
    model = keras.Model(image, {"logits": logits}, name="tiny")
    model.get_layer("logits").set_weights(
        [6 * np.eye(3, dtype=np.float32), np.zeros(3, np.float32)]
    )
    return model


def write_run(folder: Path, model: Any) -> Path:
    """Write what `rille train` leaves behind."""
    folder.mkdir(parents=True)
    model.save(folder / "model.keras")
    contract = Contract(
        name="tiny",
        version="1",
        task="classification",
        summary="Colours.",
        licence="none",
        labels=tuple(LabelEntry(id=k, name=name) for k, name in LABELS),
        preprocess=(
            {"op": "rgb"},
            {"op": "resize", "width": 32, "height": 32},
            {"op": "normalize", "mean": [127.5], "std": [127.5]},
        ),
        decision=Decision(),
    )
    provenance = {
        "recipe": 'name = "tiny"\n',
        "dataset": "msl-v1",
        "train_split": "train",
        "train_images": 24,
        "train_listing_sha256": "0" * 64,
        "parameters": 12,
        "trained_with": "nothing",
        "trained_on": "2026-01-01",
    }
    record = {
        "contract": asdict(contract),
        "data": {"train": "train", "validation": "val"},
        "provenance": provenance,
    }
    (folder / "contract.json").write_text(json.dumps(record))
    return folder


def quiet(line: str) -> None:
    """Say nothing."""
