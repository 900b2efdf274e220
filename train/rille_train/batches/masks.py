"""Batches of windows with one mask, from boxes or from class masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.datasets import IGNORED, Dataset, Sample
from rille.images import read_image
from rille.preprocess import normalized
from rille_train.augment import tone, warp_scene
from rille_train.batches.base import Batches, Progress, fitter, windows_to_cover
from rille_train.losses import mask_losses
from rille_train.one_mask import merged_values, one_mask
from rille_train.recipe import Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray


class OneMaskBatches(Batches):
    """Random windows with the mask of all features, or of the classes that a recipe names.

    The target of a pixel is 1 inside, 0 outside, and -1 where the data set does not say.

    Args:
        recipe: augmentation, window, batch size, what is drawn in boxes, which labels are merged.
        datasets: where the samples come from.
        sources: training samples of each; see `Batches`.
        progress: called with images read and in all.

    Raises:
        ConfigError: a label of the recipe is not one of the data set's.
        DatasetError: a mask of another size than its image.
    """

    def __init__(
        self,
        recipe: Recipe,
        datasets: Sequence[Dataset],
        sources: Sequence[Sequence[Sample]],
        progress: Progress = lambda done, total: None,
    ) -> None:
        super().__init__(recipe, sources, windows_to_cover(recipe, len(sources[0])))
        fit = fitter(recipe)
        tables = [merged_values(dataset, recipe.data.labels) for dataset in datasets]
        self._scenes: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
        for done, sample in enumerate(self.samples, 1):
            image = read_image(sample.path)
            fitted, g = fit(image)
            table = tables[self.source_of[done - 1]]
            self._scenes.append((fitted.copy(), one_mask(sample, g, table, recipe.data.box_mask)))
            progress(done, len(self.samples))

    @property
    def losses(self) -> Mapping[str, Any]:
        """The loss of each output by role."""
        return {"mask": mask_losses(self.recipe.fit.mask_loss)}

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        chosen, rng = self.draw(index)
        how, side = self.recipe.augment, self.recipe.augment.window_px
        images, targets = [], []
        for which in chosen:
            scene, inside = self._scenes[which]
            image, mask = warp_scene(scene, inside, side, how, rng)
            images.append(normalized(self.last, tone(image, how, rng)))
            targets.append(np.where(mask == IGNORED, -1.0, mask)[:, :, None].astype(np.float32))
        return np.stack(images), {"mask": np.stack(targets)}
