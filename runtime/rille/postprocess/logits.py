"""Logits as a network stores them: the probability they mean, and limits among them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.tensor import TensorSpec


_MOST = 300.0
"""Beyond it exp() of a sum of logits might overflow; no probability can be told from 0 or 1."""


def powers(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return e to the power of each logit."""
    return np.exp(np.clip(logits.astype(np.float64), -_MOST, _MOST))


def probability(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the probability that each logit means by itself."""
    found = powers(logits)
    return found / (1.0 + found)


def stored_above(spec: TensorSpec, part: float, whole: float = 1.0) -> float:
    """Return the stored logit above which `whole` times its probability exceeds `part`.

    Args:
        spec: how logits are stored.
        part: any number.
        whole: 0 or more.
    """
    if part < 0 or (part == 0 and whole > 0):
        return -math.inf
    if part >= whole:
        return math.inf
    return math.log(part / (whole - part)) / spec.scale + spec.zero_point


class Reading:
    """What the numbers stored in a tensor mean; looked up where each takes one byte.

    Args:
        spec: how they are stored.
        meaning: turns real numbers, float32 of any shape, into what they mean, number by number.
    """

    def __init__(
        self, spec: TensorSpec, meaning: Callable[[NDArray[np.float32]], NDArray[np.float64]]
    ) -> None:
        self._spec, self._meaning = spec, meaning
        self.table = None
        if spec.numpy_dtype.itemsize == 1:
            bytes_ = np.arange(256, dtype=np.uint8).view(spec.numpy_dtype)
            self.table = meaning(spec.dequantize(bytes_))

    def __call__(self, stored: NDArray[Any]) -> NDArray[np.float64]:
        """Return what stored numbers mean, in their shape."""
        if self.table is None:
            return self._meaning(self._spec.dequantize(stored))
        return self.table.take(stored.view(np.uint8))
