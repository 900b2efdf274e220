"""Losses, in `keras.ops` alone so that every backend runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops


def balanced_softmax(
    shares: np.ndarray[Any, Any], strength: float, smoothing: float
) -> Callable[[Any, Any], Any]:
    """Return cross-entropy on logits offset by the log share of each class.

    The offset is present only while training, so the network learns what an equal prior would need
    (balanced softmax, Ren et al. 2020; logit adjustment, Menon et al. 2021).

    Args:
        shares: (classes,) share of each class among the samples drawn, summing to 1.
        strength: factor on the offset; 0 leaves plain cross-entropy.
        smoothing: share of the target spread evenly over all classes.

    Returns:
        A loss of (batch, classes) one-hot targets and (batch, classes) logits.
    """
    offset = (strength * np.log(np.maximum(shares, 1e-6))).astype(np.float32)
    even = 1.0 / len(shares)

    def loss(target: Any, logits: Any) -> Any:
        target = ops.cast(target, "float32") * (1 - smoothing) + smoothing * even
        return -ops.mean(ops.sum(target * ops.log_softmax(logits + offset, axis=-1), axis=-1))

    return loss


def mask_loss(target: Any, logits: Any) -> Any:
    """Binary cross-entropy plus soft Dice over the batch.

    Args:
        target: (batch, h, w, 1) 0 or 1.
        logits: (batch, h, w, 1).
    """
    target, logits = ops.cast(target, "float32"), ops.cast(logits, "float32")
    probability = ops.sigmoid(logits)
    overlap, total = ops.sum(probability * target), ops.sum(probability) + ops.sum(target)
    return _cross_entropy(target, logits) + 1.0 - (2.0 * overlap + 1.0) / (total + 1.0)


def mask_losses(name: str) -> Callable[[Any, Any], Any]:
    """Return a loss of one mask.

    "soft-dice" is 1 - (2 sum(p t) + 1) / (sum p + sum t + 1) over the whole batch, and "bce-dice"
    half of it and half of the binary cross-entropy "bce", as the published crater experiment on
    LU3M6TGT has them.

    Args:
        name: "bce", "soft-dice" or "bce-dice".

    Returns:
        A loss of (batch, h, w, 1) targets, 1, 0 or -1 where nobody knows, and logits.
    """
    share = {"bce": 0.0, "soft-dice": 1.0, "bce-dice": 0.5}[name]

    def loss(target: Any, logits: Any) -> Any:
        target, logits = ops.cast(target, "float32"), ops.cast(logits, "float32")
        known = ops.cast(target >= 0.0, "float32")
        target, p = target * known, ops.sigmoid(logits) * known
        each = ops.maximum(logits, 0.0) - logits * target + ops.log1p(ops.exp(-ops.abs(logits)))
        entropy = ops.sum(each * known) / ops.maximum(ops.sum(known), 1.0)
        overlap, total = ops.sum(p * target), ops.sum(p) + ops.sum(target)
        dice = 1.0 - (2.0 * overlap + 1.0) / (total + 1.0)
        return (1.0 - share) * entropy + share * dice

    return loss


def _cross_entropy(target: Any, logits: Any) -> Any:
    """Mean binary cross-entropy of logits, in the form that cannot overflow."""
    return ops.mean(
        ops.maximum(logits, 0.0) - logits * target + ops.log1p(ops.exp(-ops.abs(logits)))
    )


def centre_loss(target: Any, logits: Any) -> Any:
    """Penalty-reduced focal loss of a centre map (Law and Deng 2018, eq. 1; alpha 2, beta 4).

    Args:
        target: (batch, h, w, 1): 1 at a centre, a Gaussian falling off around it.
        logits: (batch, h, w, 1).
    """
    target, logits = ops.cast(target, "float32"), ops.cast(logits, "float32")
    probability = ops.clip(ops.sigmoid(logits), 1e-4, 1.0 - 1e-4)
    centre = ops.cast(target >= 0.999, "float32")
    found = centre * (1.0 - probability) ** 2 * ops.log(probability)
    empty = (1.0 - centre) * (1.0 - target) ** 4 * probability**2 * ops.log(1.0 - probability)
    return -ops.sum(found + empty) / (ops.sum(centre) + 1.0)


def size_loss(target: Any, size: Any) -> Any:
    """Mean absolute error of log2 sizes where there is something to measure.

    Args:
        target: (batch, h, w, 3): log2 width, log2 height, and 1 where they count.
        size: (batch, h, w, 2).
    """
    target, size = ops.cast(target, "float32"), ops.cast(size, "float32")
    weight = target[..., 2:]
    return ops.sum(ops.abs(size - target[..., :2]) * weight) / (ops.sum(weight) + 1.0)


def light_loss(target: Any, logits: Any) -> Any:
    """Binary cross-entropy of the Sun's side.

    Args:
        target: (batch, 1), 1 where the Sun stands on the left.
        logits: (batch, 1).
    """
    return _cross_entropy(ops.cast(target, "float32"), ops.cast(logits, "float32"))


def independent_loss(smoothing: float) -> Callable[[Any, Any], Any]:
    """Return the mean binary cross-entropy of independent labels, unclear cases left out.

    Args:
        smoothing: share of the target moved to the other side.

    Returns:
        A loss of (batch, labels) targets, 1, 0 or -1 where it is no clear case, and logits.
    """

    def loss(target: Any, logits: Any) -> Any:
        target, logits = ops.cast(target, "float32"), ops.cast(logits, "float32")
        clear = ops.cast(target >= 0.0, "float32")
        wanted = target * (1 - smoothing) + 0.5 * smoothing
        each = ops.maximum(logits, 0.0) - logits * wanted + ops.log1p(ops.exp(-ops.abs(logits)))
        return ops.sum(each * clear) / ops.maximum(ops.sum(clear), 1.0)

    return loss


def possible_class_loss(weights: Sequence[float]) -> Callable[[Any, Any], Any]:
    """Return the loss of class maps whose targets may leave several classes possible.

    Cross-entropy of the event that one of the possible classes is true, weighted by class, plus
    soft Dice of each class that the batch shows, over the pixels where it is sure.

    Args:
        weights: of each class in the cross-entropy, the rest first; empty for 1 throughout.

    Returns:
        A loss of (batch, h, w, classes) targets, 1 for each possible class (fractions where a
        cell takes in several pixels), and logits of the same shape.
    """

    def loss(target: Any, logits: Any) -> Any:
        target, logits = ops.cast(target, "float32"), ops.cast(logits, "float32")
        probability = ops.softmax(logits, axis=-1)
        possible = ops.sum(target, axis=-1)
        sure = ops.cast(possible < 1.01, "float32")
        event = -ops.log(ops.clip(ops.sum(target * probability, axis=-1), 1e-6, 1.0))
        factor = sure * ops.sum(target * _row(weights, logits.shape[-1]), axis=-1) + (1.0 - sure)
        entropy = ops.sum(event * factor) / ops.maximum(ops.sum(factor), 1.0)
        # What is possible but not sure says nothing about this class's overlap.
        known = ops.maximum(sure[..., None], ops.cast(target < 0.01, "float32"))
        axes = (0, 1, 2)
        overlap = ops.sum(probability * target * known, axis=axes)
        total = ops.sum((probability + target) * known, axis=axes)
        shown = ops.cast(ops.sum(target * known, axis=axes) > 0.5, "float32")
        dice = (1.0 - (2.0 * overlap + 1.0) / (total + 1.0)) * shown
        return entropy + ops.sum(dice[1:]) / ops.maximum(ops.sum(shown[1:]), 1.0)

    return loss


def _row(weights: Sequence[float], count: int) -> Any:
    return ops.convert_to_tensor(np.array(weights or [1.0] * count, np.float32))
