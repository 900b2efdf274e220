"""Batches of windows of orbital tiles for the crater network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.datasets import BoxSample
from rille.ellipse import Ellipse
from rille.images import read_image
from rille.preprocess import normalized
from rille_train.augment import cut_window, tone
from rille_train.batches.base import Batches, Progress, fitter, windows_to_cover
from rille_train.losses import centre_loss, light_loss, mask_loss, size_loss
from rille_train.recipe import Recipe
from rille_train.targets import crater_targets

if TYPE_CHECKING:
    from numpy.typing import NDArray


class CraterBatches(Batches):
    """Random windows of tiles with the targets of the crater network.

    Args:
        recipe: augmentation, window, batch size.
        sources: training samples; see `Batches`.
        progress: called with images read and in all.

    Raises:
        FrameDecodeError: a damaged image.
    """

    def __init__(
        self,
        recipe: Recipe,
        sources: Sequence[Sequence[BoxSample]],
        progress: Progress = lambda done, total: None,
    ) -> None:
        super().__init__(recipe, sources, windows_to_cover(recipe, len(sources[0])))
        fit = fitter(recipe)
        self._tiles: list[tuple[NDArray[np.uint8], list[Ellipse]]] = []
        for done, sample in enumerate(self.samples, 1):
            image = read_image(sample.path)
            tile, g = fit(image)
            ellipses = sample.ellipses(image.shape[1], image.shape[0])
            shift = (0.5 * g.scale_x - 0.5, 0.5 * g.scale_y - 0.5)
            self._tiles.append(
                (tile.copy(), [e.mapped(g.scale_x, g.scale_y, *shift) for e in ellipses])
            )
            progress(done, len(self.samples))

    @property
    def losses(self) -> Mapping[str, Any]:
        """The loss of each output by role."""
        losses = {"mask": mask_loss, "centre": centre_loss, "size": size_loss}
        return {**losses, "light": light_loss} if self.recipe.model.canonical_light else losses

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        chosen, rng = self.draw(index)
        how, side = self.recipe.augment, self.recipe.augment.window_px
        images, targets = [], []
        for which in chosen:
            tile, labelled = self._tiles[which]
            window, ellipses, mirrored = cut_window(tile, labelled, how, rng)
            images.append(normalized(self.last, tone(window, how, rng)))
            target = crater_targets(ellipses, side)
            if self.recipe.model.canonical_light:
                on_left = (self.recipe.data.sun == "left") != mirrored
                target["light"] = np.array([on_left], np.float32)
            targets.append(target)
        return np.stack(images), {
            role: np.stack([target[role] for target in targets]) for role in targets[0]
        }
