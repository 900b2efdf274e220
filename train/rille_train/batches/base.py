"""What all batches share: the order of chance, images as trained on and as flown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from rille.datasets import Sample
from rille.images import read_image
from rille.preprocess import (
    Clahe,
    Equalize,
    Letterbox,
    Normalize,
    Preprocessor,
    Resize,
    Standardize,
    coloured,
    evened,
    normalized,
    parse_ops,
)
from rille.tensor import TensorSpec
from rille_train.augment import tone, warp_photo
from rille_train.models import input_shape
from rille_train.recipe import Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.preprocess import Geometry

Progress = Callable[[int, int], None]


class Batches(keras.utils.PyDataset, ABC):  # type: ignore[misc]  # Keras publishes no types
    """Random batches: the content of batch `i` of epoch `e` depends on the seed, `e` and `i` alone.

    Args:
        recipe: batch size, seed, and the share of the draws from further data sets.
        sources: training samples, first of the data set itself, then of each further one.
        steps: batches in an epoch.

    Attributes:
        epoch: the epoch whose batches are given; see `rille_train.callbacks.EpochSeed`.
        samples: all samples, source after source.
        source_of: (n,) which source each is from.
        weights: (n,) probability with which each is drawn.
        last: the operation that makes numbers of grey levels.
    """

    def __init__(self, recipe: Recipe, sources: Sequence[Sequence[Any]], steps: int) -> None:
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=8)
        self.recipe = recipe
        self.epoch = 0
        self.samples = [sample for source in sources for sample in source]
        sizes = [len(source) for source in sources]
        self.source_of = np.repeat(np.arange(len(sources)), sizes)
        self.weights = source_weights(sizes, recipe.data.extra_share)
        self._steps = steps
        last = parse_ops(recipe.preprocess)[-1]
        assert isinstance(last, Normalize | Standardize)
        self.last = last

    def __len__(self) -> int:
        return self._steps

    @property
    @abstractmethod
    def losses(self) -> Mapping[str, Any]:
        """The loss of each output by role."""

    def draw(self, index: int) -> tuple[NDArray[np.int64], np.random.Generator]:
        """Return which samples batch `index` is made of, and where its chance comes from."""
        rng = np.random.default_rng([self.recipe.fit.seed, self.epoch, index])
        return rng.choice(len(self.samples), self.recipe.fit.batch, p=self.weights), rng


def source_weights(sizes: Sequence[int], extra_share: float) -> NDArray[np.float64]:
    """Return the probability of each sample: the further sources share `extra_share` evenly.

    Args:
        sizes: samples in each source; the first is the data set itself.
        extra_share: probability of a sample from a further source.
    """
    extra = len(sizes) - 1
    shares = [1 - extra_share if extra else 1.0, *[extra_share / max(extra, 1)] * extra]
    return np.concatenate(
        [np.full(size, share / size) for size, share in zip(sizes, shares, strict=True)]
    )


def windows_to_cover(recipe: Recipe, images: int) -> int:
    """Return how many batches of windows have as many pixels as some images together."""
    height, width, _ = input_shape(recipe)
    cover = (height * width) / recipe.augment.window_px**2
    return max(1, round(images * cover / recipe.fit.batch))


def fitter(recipe: Recipe) -> Callable[[NDArray[np.uint8]], tuple[NDArray[np.uint8], Geometry]]:
    """Return what brings an image to the network's size and channels, as in flight."""
    height, width, channels = input_shape(recipe)
    spec = TensorSpec(shape=(1, height, width, channels))
    fit = Preprocessor(parse_ops(recipe.preprocess), spec).fit
    return lambda image: fit(three_channels(image) if channels == 3 else image)


def three_channels(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (H, W, 3) for a grey or a colour image."""
    return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image


class Images:
    """The images of some samples, in memory.

    Args:
        recipe: preprocessing and augmentation.
        samples: which.
        progress: called with images read and in all.

    Raises:
        FrameDecodeError: a damaged image.
    """

    def __init__(
        self,
        recipe: Recipe,
        samples: Sequence[Sample],
        progress: Progress = lambda done, total: None,
    ) -> None:
        self._recipe = recipe
        self._shape = input_shape(recipe)
        ops = parse_ops(recipe.preprocess)
        place, self._fit = next(
            (k, op) for k, op in enumerate(ops) if isinstance(op, Resize | Letterbox)
        )
        evening = [(k, op) for k, op in enumerate(ops) if isinstance(op, Equalize | Clahe)]
        # What flies before the resize is done once; what flies after it, on each varied image.
        self._before = [op for k, op in evening if k < place]
        self._after = [op for k, op in evening if k > place]
        last = ops[-1]
        assert isinstance(last, Normalize | Standardize)
        self._last = last
        self._images = []
        for done, sample in enumerate(samples, 1):
            self._images.append(coloured(read_image(sample.path), self._shape[2]))
            progress(done, len(samples))
        self._evened = [_all_evened(self._before, image) for image in self._images]

    def varied(self, which: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return one image as the network takes it, varied at random."""
        how, image = self._recipe.augment, self._evened[which]
        g = self._fit.geometry(image.shape[1], image.shape[0])
        image = tone(warp_photo(image, g.width, g.height, how, rng), how, rng)
        content = normalized(self._last, _all_evened(self._after, image))
        if content.shape == self._shape:
            return content
        boxed = np.zeros(self._shape, np.float32)
        boxed[g.top : g.top + g.height, g.left : g.left + g.width] = content
        return boxed

    def plain(self, size: int) -> Iterator[NDArray[np.float32]]:
        """Yield all images as they fly, without augmentation, `size` at a time."""
        run = Preprocessor(parse_ops(self._recipe.preprocess), TensorSpec(shape=(1, *self._shape)))
        for start in range(0, len(self._images), size):
            part = self._images[start : start + size]
            yield np.concatenate([run(image)[0].copy() for image in part])


def _all_evened(ops: Sequence[Equalize | Clahe], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    for op in ops:
        image = evened(op, image)
    return image
