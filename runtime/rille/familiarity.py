"""How unlike a picture is to those that a classifier was made for, from the features of its head.

A network answers whatever it is shown, and its probability says little of a picture of another
kind. Two things are looked at. The features from which the logits are made, scaled to unit length,
lie near a subspace of few dimensions for pictures of the kind trained on; what of a picture's lies
outside it is *strangeness*: the squared distance from the principal components of the training
features (Hoffmann 2007; as "residual" in Wang et al. 2022, ViM). Where one class is chosen among
many, *doubt*, 1 minus its probability, is looked at too (Hendrycks and Gimpel 2017). Each is
divided by what only one picture in twenty of the right kind exceeds; the larger counts.

Features and rows are summed as whole numbers, so for integer networks the score is the same to the
bit on every machine and in whatever order sums are made.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.bundle.manifest import FEATURES, Familiarity
from rille.errors import InferenceError
from rille.kernels import ProductSums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.bundle import Bundle, Variant
    from rille.tensor import TensorSpec


class FamiliarityCheck:
    """Scores the features of one network; not for two threads at once.

    Args:
        known: what the manifest says.
        content: the file it names, verified.
        features: the output that is scored; its scale does not matter.
    """

    def __init__(self, known: Familiarity, content: bytes, features: TensorSpec) -> None:
        stored = np.frombuffer(content, "<i2").reshape(len(known.steps), known.numbers)
        self._products = ProductSums(
            stored.astype(np.int16), features.numpy_dtype, features.zero_point
        )
        self._steps = known.steps
        # Whole numbers throughout: exact, whatever the order.
        sums = (stored.astype(np.int64) @ stored[0].astype(np.int64)).tolist()
        along = [n * step * known.steps[0] for n, step in zip(sums, known.steps, strict=True)]
        self._mean_square, self._mean_along = along[0], along[1:]
        self._known = known

    @classmethod
    def of(cls, bundle: Bundle, variant: Variant) -> FamiliarityCheck | None:
        """Return that of a network; None where its bundle, or this form of it, has none."""
        known, features = bundle.manifest.familiarity, variant.outputs.get(FEATURES)
        if known is None or features is None:
            return None
        return cls(known, bundle.files[known.file], features.tensor)

    def __call__(self, stored: NDArray[Any], probability: float) -> float:
        """Return the score of a picture: above 1 it is unlike nineteen of twenty of its kind.

        Args:
            stored: (1, n) features as the engine returns them.
            probability: calibrated, of the answer.

        Raises:
            InferenceError: a feature is not a finite number.
        """
        score = self.strangeness(stored) / self._known.strangeness
        if self._known.doubt is None:
            return score
        return max(score, (1.0 - probability) / self._known.doubt)

    def strangeness(self, stored: NDArray[Any]) -> float:
        """Return the squared distance of features of unit length from what is known, from 0."""
        *sums, square = self._products(stored[0])
        if not math.isfinite(square):
            raise InferenceError("the network gave a feature that is not a finite number")
        shrink = 1.0 / math.sqrt(square) if square > 0 else 0.0
        # Few numbers: plain arithmetic takes less time than calls of NumPy.
        mean, *along = (n * step * shrink for n, step in zip(sums, self._steps, strict=True))
        inside = (a - b for a, b in zip(along, self._mean_along, strict=True))
        length = 1.0 if square > 0 else 0.0
        outside = length - 2.0 * mean + self._mean_square
        return float(max(0.0, outside - math.fsum(x * x for x in inside)))
