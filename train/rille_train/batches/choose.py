"""Which batches a recipe and its data sets ask for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rille.bundle.manifest import Contract
from rille.datasets import BoxSample, Dataset, samples_of
from rille.errors import ConfigError, DatasetError
from rille_train.batches.base import Batches
from rille_train.batches.craters import CraterBatches
from rille_train.batches.masks import OneMaskBatches
from rille_train.batches.photos import LabelBatches, PhotoBatches
from rille_train.batches.scenes import MaskBatches
from rille_train.models import input_shape
from rille_train.recipe import Recipe


def open_batches(recipe: Recipe, datasets: Sequence[Dataset], contract: Contract) -> Batches:
    """Read the training split of each data set.

    Args:
        recipe: what to do.
        datasets: the data set itself first, then further ones to draw from.
        contract: names the classes in the order of the network's outputs.

    Raises:
        DatasetError: a data set does not fit the others.
        ConfigError: the recipe's window does not fit, or a label is nowhere shown.
    """
    sources: list[Any] = [samples_of(dataset, recipe.data.train) for dataset in datasets]
    count = " + ".join(str(len(source)) for source in sources)
    sys.stderr.write(f"{recipe.name}: reading {count} images of split {recipe.data.train}\n")
    if recipe.task == "classification":
        return PhotoBatches(recipe, sources, [label.id for label in contract.labels])
    if recipe.task == "multilabel":
        return LabelBatches(recipe, sources, _label_order(contract, datasets))
    height, width, _ = input_shape(recipe)
    if recipe.augment.window_px > min(height, width):
        raise ConfigError(f"augment.window_px is larger than the {width} x {height} px input")
    if recipe.one_mask:
        return OneMaskBatches(recipe, datasets, sources)
    boxes = {isinstance(sample, BoxSample) for source in sources for sample in source}
    if boxes != {recipe.model.kind == "crater-unet"}:
        form = "boxes" if recipe.model.kind == "crater-unet" else "class masks"
        raise DatasetError(
            f"{datasets[0].root}: model {recipe.model.kind} learns from {form}; this has others"
        )
    if recipe.model.kind == "crater-unet":
        return CraterBatches(recipe, sources)
    return MaskBatches(recipe, datasets, sources)


def _label_order(contract: Contract, datasets: Sequence[Dataset]) -> list[list[int]]:
    """Return where each data set keeps the labels of the network."""
    order = []
    for dataset in datasets:
        places = {label.name: k for k, label in enumerate(dataset.labels)}
        missing = [name for name in contract.label_names if name not in places]
        if missing:
            raise DatasetError(f"{dataset.root}: says nothing about {', '.join(missing)}")
        order.append([places[name] for name in contract.label_names])
    return order
