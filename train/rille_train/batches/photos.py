"""Batches of whole images: one class among many, or independent labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from rille.datasets import ImageSample, MultiLabelSample
from rille_train.batches.base import Batches, Images, Progress
from rille_train.losses import balanced_softmax, independent_loss
from rille_train.recipe import Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

_UNCLEAR = -1.0


class PhotoBatches(Batches):
    """Augmented photographs with one-hot classes, rare classes drawn more often.

    Args:
        recipe: augmentation, batch size, sampling.
        sources: training samples; see `Batches`.
        label_ids: published class ids in the order of the network's outputs.
        progress: called with images read and in all.

    Attributes:
        classes: (n,) class index of each image.
        shares: (classes,) share of each class among the images drawn.

    Raises:
        FrameDecodeError: a damaged image.
    """

    def __init__(
        self,
        recipe: Recipe,
        sources: Sequence[Sequence[ImageSample]],
        label_ids: Sequence[int],
        progress: Progress = lambda done, total: None,
    ) -> None:
        super().__init__(recipe, sources, -(-len(sources[0]) // recipe.fit.batch))
        self._images = Images(recipe, self.samples, progress)
        order = {label_id: i for i, label_id in enumerate(label_ids)}
        self.classes = np.array([order[sample.label_id] for sample in self.samples])
        self._count = len(label_ids)
        self.weights = sampling_weights(
            self.classes,
            [s.group for s in self.samples],
            recipe.fit.class_power,
            recipe.fit.group_power,
        )
        self.shares = np.bincount(self.classes, self.weights, minlength=self._count)

    @property
    def losses(self) -> Mapping[str, Any]:
        """The loss of each output by role."""
        fit = self.recipe.fit
        return {"logits": balanced_softmax(self.shares, fit.prior_strength, fit.label_smoothing)}

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        chosen, rng = self.draw(index)
        images = np.stack([self._images.varied(k, rng) for k in chosen])
        return images, {"logits": np.eye(self._count, dtype=np.float32)[self.classes[chosen]]}

    def plain(self, size: int) -> Iterator[NDArray[np.float32]]:
        """Yield all images as they fly; see `Images.plain`."""
        return self._images.plain(size)

    def head_problem(self) -> tuple[NDArray[Any], NDArray[np.float64], Any]:
        """Return targets, weights and loss for the head alone, every class weighted alike."""
        counts = np.bincount(self.classes, minlength=self._count)
        weights = len(self.classes) / (len(counts) * np.maximum(counts, 1.0))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        return self.classes, weights[self.classes], loss


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


class LabelBatches(Batches):
    """Augmented images with independent labels.

    Args:
        recipe: augmentation, batch size.
        sources: training samples; see `Batches`.
        order: for each source, where its samples keep the network's labels.
        progress: called with images read and in all.

    Attributes:
        truth: (n, labels) float32: 1 holds, 0 does not, -1 is no clear case.

    Raises:
        FrameDecodeError: a damaged image.
    """

    def __init__(
        self,
        recipe: Recipe,
        sources: Sequence[Sequence[MultiLabelSample]],
        order: Sequence[Sequence[int]],
        progress: Progress = lambda done, total: None,
    ) -> None:
        super().__init__(recipe, sources, -(-len(sources[0]) // recipe.fit.batch))
        self._images = Images(recipe, self.samples, progress)
        truth = [
            [_number(sample.holds[k]) for k in places]
            for source, places in zip(sources, order, strict=True)
            for sample in source
        ]
        self.truth = np.array(truth, np.float32)

    @property
    def losses(self) -> Mapping[str, Any]:
        """The loss of each output by role."""
        return {"logits": independent_loss(self.recipe.fit.label_smoothing)}

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        chosen, rng = self.draw(index)
        images = np.stack([self._images.varied(k, rng) for k in chosen])
        return images, {"logits": self.truth[chosen]}

    def plain(self, size: int) -> Iterator[NDArray[np.float32]]:
        """Yield all images as they fly; see `Images.plain`."""
        return self._images.plain(size)

    def head_problem(self) -> tuple[NDArray[Any], NDArray[np.float64], Any]:
        """Return targets, weights and loss for the head alone."""
        return self.truth, self.weights * len(self.weights), independent_loss(0.0)


def _number(holds: bool | None) -> float:
    return _UNCLEAR if holds is None else float(holds)
