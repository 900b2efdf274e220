"""Batches of windows of rover scenes with a class for each pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille.datasets import IGNORED, Dataset, MaskSample
from rille.errors import ConfigError, DatasetError
from rille.images import read_image
from rille.preprocess import normalized
from rille_train.augment import tone, warp_scene
from rille_train.batches.base import Batches, Progress, fitter, windows_to_cover
from rille_train.losses import possible_class_loss
from rille_train.models import input_shape
from rille_train.recipe import Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRIDE = 2
"""Network pixels per cell of the class maps."""


class MaskBatches(Batches):
    """Random windows of scenes with the classes each pixel may have.

    The target of a pixel is (1 + labels,): 1 for every class it may be, so one 1 where the mask is
    sure, and all ones where it is ignored. A data set that does not know a label cannot deny it:
    what it calls the rest may be that label.

    Args:
        recipe: augmentation, window, batch size, labels.
        datasets: where the samples come from; their labels give the order in their masks.
        sources: training samples of each; see `Batches`.
        progress: called with images read and in all.

    Raises:
        ConfigError: a label of the recipe is in none of the data sets.
        DatasetError: a mask of another size than its image.
    """

    def __init__(
        self,
        recipe: Recipe,
        datasets: Sequence[Dataset],
        sources: Sequence[Sequence[MaskSample]],
        progress: Progress = lambda done, total: None,
    ) -> None:
        _check_labels(recipe.data.labels, datasets)
        height, width, _ = input_shape(recipe)
        super().__init__(recipe, sources, windows_to_cover(recipe, len(sources[0])))
        fit = fitter(recipe)
        self._scenes: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
        for done, sample in enumerate(self.samples, 1):
            image, mask = read_image(sample.path), sample.mask()
            if mask.shape != image.shape[:2]:
                raise DatasetError(
                    f"{sample.path}: image of {image.shape[1]} x {image.shape[0]} px, mask of "
                    f"{mask.shape[1]} x {mask.shape[0]}"
                )
            fitted, _ = fit(image)
            small = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
            self._scenes.append((fitted.copy(), np.asarray(small, np.uint8)))
            progress(done, len(self.samples))
        self._tables = [possible_classes(dataset, recipe.data.labels) for dataset in datasets]

    @property
    def losses(self) -> Mapping[str, Any]:
        """The loss of each output by role."""
        return {"classes": possible_class_loss(self.recipe.fit.class_weights)}

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        chosen, rng = self.draw(index)
        how, side = self.recipe.augment, self.recipe.augment.window_px
        images, targets = [], []
        for which in chosen:
            scene, classes = self._scenes[which]
            image, mask = warp_scene(scene, classes, side, how, rng)
            images.append(normalized(self.last, tone(image, how, rng)))
            possible = self._tables[self.source_of[which]][mask]
            cells = possible.reshape(side // STRIDE, STRIDE, side // STRIDE, STRIDE, -1)
            targets.append(cells.mean(axis=(1, 3)))
        return np.stack(images), {"classes": np.stack(targets)}


def possible_classes(dataset: Dataset, labels: Sequence[str]) -> NDArray[np.float32]:
    """Return which classes a pixel may be to which a data set's mask gives a value.

    Args:
        dataset: its labels give the mask's values.
        labels: of the network.

    Returns:
        (256, 1 + labels) float32, 1 for each possible class, the rest first.
    """
    table = np.zeros((256, 1 + len(labels)), np.float32)
    names = [label.name for label in dataset.labels]
    table[:, 0] = 1.0
    for place, name in enumerate(labels, 1):
        if name in names:
            value = names.index(name) + 1
            table[value] = 0.0
            table[value, place] = 1.0
        else:
            table[0, place] = 1.0
    table[IGNORED] = 1.0
    return table


def _check_labels(labels: Sequence[str], datasets: Sequence[Dataset]) -> None:
    known = {label.name for dataset in datasets for label in dataset.labels}
    for name in labels:
        if name not in known:
            raise ConfigError(
                f"data.labels: no data set shows {name!r} (they show {', '.join(sorted(known))}); "
                "add one that does with --extra, or leave the label out"
            )
