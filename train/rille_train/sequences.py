"""Batches for `keras.Model.fit`, the same on every backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from rille.datasets import BoxSample, ImageSample
from rille.ellipse import Ellipse
from rille.images import read_image
from rille.preprocess import Normalize, Preprocessor, Standardize, normalized, parse_ops
from rille.tensor import TensorSpec
from rille_train.augment import cut_window, tone, warp_photo
from rille_train.models import input_shape
from rille_train.recipe import Recipe
from rille_train.targets import crater_targets

if TYPE_CHECKING:
    from numpy.typing import NDArray

Progress = Callable[[int, int], None]


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras publishes no types
    """Random batches: the content of batch `i` of epoch `e` depends on the seed, `e` and `i` alone.

    Attributes:
        epoch: the epoch whose batches are given; see `rille_train.callbacks.EpochSeed`.
    """

    def __init__(self, recipe: Recipe, steps: int) -> None:
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=8)
        self.recipe = recipe
        self.epoch = 0
        self._steps = steps
        last = parse_ops(recipe.preprocess)[-1]
        assert isinstance(last, Normalize | Standardize)
        self._last = last

    def __len__(self) -> int:
        return self._steps

    def _rng(self, index: int) -> np.random.Generator:
        return np.random.default_rng([self.recipe.fit.seed, self.epoch, index])


class PhotoBatches(Batches):
    """Augmented photographs with one-hot classes, rare classes drawn more often.

    Args:
        recipe: augmentation, batch size, sampling.
        samples: the training split.
        label_ids: published class ids in the order of the network's outputs.
        progress: called with images read and in all.

    Attributes:
        classes: (n,) class index of each image of the split.
        shares: (classes,) share of each class among the images drawn.

    Raises:
        FrameDecodeError: a damaged image.
    """

    def __init__(
        self,
        recipe: Recipe,
        samples: Sequence[ImageSample],
        label_ids: Sequence[int],
        progress: Progress = lambda done, total: None,
    ) -> None:
        super().__init__(recipe, -(-len(samples) // recipe.fit.batch))
        self._images = []
        for done, sample in enumerate(samples, 1):
            self._images.append(read_image(sample.path))
            progress(done, len(samples))
        order = {label_id: i for i, label_id in enumerate(label_ids)}
        self.classes = np.array([order[sample.label_id] for sample in samples])
        self._count = len(label_ids)
        self._weights = sampling_weights(
            self.classes,
            [s.group for s in samples],
            recipe.fit.class_power,
            recipe.fit.group_power,
        )
        self.shares = np.bincount(self.classes, self._weights, minlength=self._count)
        self._height, self._width, self._channels = input_shape(recipe)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        rng = self._rng(index)
        chosen = rng.choice(len(self._images), self.recipe.fit.batch, p=self._weights)
        images = np.stack([self._one(self._images[k], rng) for k in chosen])
        return images, {"logits": np.eye(self._count, dtype=np.float32)[self.classes[chosen]]}

    def _one(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
        if image.ndim == 2 and self._channels == 3:
            image = np.repeat(image[:, :, None], 3, axis=2)
        image = warp_photo(image, self._width, self._height, self.recipe.augment, rng)
        return normalized(self._last, tone(image, self.recipe.augment, rng))

    def plain(self, size: int) -> Iterator[NDArray[np.float32]]:
        """Yield all images as they fly, without augmentation, `size` at a time."""
        shape = (1, self._height, self._width, self._channels)
        run = Preprocessor(parse_ops(self.recipe.preprocess), TensorSpec(shape=shape))
        for start in range(0, len(self._images), size):
            part = self._images[start : start + size]
            yield np.concatenate([run(image)[0].copy() for image in part])


def sampling_weights(
    classes: NDArray[np.int64], groups: Sequence[str], class_power: float, group_power: float
) -> NDArray[np.float64]:
    """Return the probability with which each sample is drawn.

    Args:
        classes: (n,) class index of each sample.
        groups: the burst each sample belongs to.
        class_power: a class of n images is drawn in proportion to n ** class_power.
        group_power: an image of a burst of m is drawn in proportion to m ** -group_power.

    Returns:
        (n,) probabilities that sum to 1.
    """
    _, group, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    weights = sizes[group].astype(np.float64) ** -group_power
    totals = np.bincount(classes, weights)
    counts = np.bincount(classes)
    weights *= (counts[classes].astype(np.float64) ** class_power) / totals[classes]
    return np.asarray(weights / weights.sum(), np.float64)


class CraterBatches(Batches):
    """Random windows of tiles with the targets of the crater network.

    Args:
        recipe: augmentation, window, batch size.
        samples: the training split.
        progress: called with images read and in all.

    Raises:
        FrameDecodeError: a damaged image.
    """

    def __init__(
        self,
        recipe: Recipe,
        samples: Sequence[BoxSample],
        progress: Progress = lambda done, total: None,
    ) -> None:
        height, width, channels = input_shape(recipe)
        fit = Preprocessor(
            parse_ops(recipe.preprocess), TensorSpec(shape=(1, height, width, channels))
        ).fit
        self._tiles: list[tuple[NDArray[np.uint8], list[Ellipse]]] = []
        for done, sample in enumerate(samples, 1):
            image = read_image(sample.path)
            tile, g = fit(image)
            ellipses = sample.ellipses(image.shape[1], image.shape[0])
            shift = (0.5 * g.scale_x - 0.5, 0.5 * g.scale_y - 0.5)
            self._tiles.append(
                (tile.copy(), [e.mapped(g.scale_x, g.scale_y, *shift) for e in ellipses])
            )
            progress(done, len(samples))
        # As many windows as cover the tiles once.
        cover = (height * width) / recipe.augment.window_px**2
        super().__init__(recipe, max(1, round(len(samples) * cover / recipe.fit.batch)))

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        rng = self._rng(index)
        how, side = self.recipe.augment, self.recipe.augment.window_px
        images, targets = [], []
        for chosen in rng.integers(len(self._tiles), size=self.recipe.fit.batch):
            tile, labelled = self._tiles[chosen]
            window, ellipses, mirrored = cut_window(tile, labelled, how, rng)
            images.append(normalized(self._last, tone(window, how, rng)))
            target = crater_targets(ellipses, side)
            if self.recipe.model.canonical_light:
                on_left = (self.recipe.data.sun == "left") != mirrored
                target["light"] = np.array([on_left], np.float32)
            targets.append(target)
        return np.stack(images), {
            role: np.stack([target[role] for target in targets]) for role in targets[0]
        }
