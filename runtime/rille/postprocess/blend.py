"""A mask that also believes in the features found: their ellipses beside the mask's own logits.

Where a crater is large and worn, its floor looks like any ground and the mask output gives it up in
the middle; its centre and size are found all the same. On real tiles the mean of both overlaps the
labels better than either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rille import kernels
from rille.bundle.manifest import Decision
from rille.postprocess.logits import stored_above

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.postprocess.centres import Boxes
    from rille.tensor import TensorSpec

BLEND_FLOOR = 0.2
"""Features of a lower score do not enter the mask."""
_STEPS = 255
"""Scores are rounded to so many parts of one."""


class Blend:
    """Turns mask logits and features into a mask; see `Decision.mask_from_features`.

    A cell belongs to the mask where the weighted mean of two numbers exceeds the threshold: the
    probability that its logit says, and the score of the surest feature in whose ellipse it lies.
    That is where its logit exceeds what is still missing.

    Args:
        spec: of the mask output.
        decision: weight and threshold.
        cell: network pixels in one cell of the mask output, in x and y.
    """

    def __init__(self, spec: TensorSpec, decision: Decision, cell: tuple[float, float]) -> None:
        self._cell = cell
        weight, threshold = decision.mask_from_features, decision.mask_threshold
        scores = (step / _STEPS for step in range(_STEPS + 1))
        missing = (threshold - weight * score for score in scores)
        self._limits = np.array([stored_above(spec, part, 1.0 - weight) for part in missing])

    def __call__(self, raw: NDArray[Any], boxes: Boxes) -> NDArray[np.uint8]:
        """Return the mask.

        Args:
            raw: (h, w) stored mask logits.
            boxes: around the features, the surest first.

        Returns:
            (h, w) uint8 of 0 and 1.
        """
        sure = boxes.rows[: int(np.count_nonzero(boxes.score >= BLEND_FLOOR))]
        return kernels.believed(raw, sure, self._limits, self._cell)
