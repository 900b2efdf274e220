"""A mask that also believes in the features found: their ellipses beside the mask's own logits.

Where a crater is large and worn, its floor looks like any ground and the mask output gives it up in
the middle; its centre and size are found all the same. On real tiles the mean of both overlaps the
labels better than either.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille import kernels
from rille.bundle.manifest import Decision
from rille.postprocess.grid import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.postprocess.centres import Boxes
    from rille.tensor import TensorSpec

BLEND_FLOOR = 0.2
"""Features of a lower score do not enter the mask."""
_CORNERS = 24
_SHRINK = 0.35
"""Cells: OpenCV also fills the cells that an outline touches."""
_BITS = 4
_angles = np.arange(_CORNERS) * (2 * math.pi / _CORNERS)
_COS, _SIN = np.cos(_angles), np.sin(_angles)


class Blend:
    """Turns mask logits and features into a mask; see `Decision.mask_from_features`.

    Args:
        spec: of the mask output.
        decision: weight and threshold.
        grid: of the mask output.
    """

    def __init__(self, spec: TensorSpec, decision: Decision, grid: Grid) -> None:
        self._spec, self._grid = spec, grid
        self._weight = decision.mask_from_features
        self._above = decision.mask_threshold * 255.0
        self._table = None
        if spec.numpy_dtype.itemsize == 1:
            stored = np.arange(256, dtype=np.uint8).view(spec.numpy_dtype)
            self._table = np.rint(self._share(stored)).astype(np.uint8)

    def __call__(self, raw: NDArray[Any], boxes: Boxes) -> NDArray[np.uint8]:
        """Return the mask.

        Args:
            raw: (h, w) stored mask logits.
            boxes: around the features, in any order.

        Returns:
            (h, w) uint8 of 0 and 1.
        """
        drawn = self._drawn(raw.shape, boxes)
        if self._table is None:
            return np.asarray(self._share(raw) + drawn > self._above).view(np.uint8)
        # Both are at most 255 times their shares, which add up to one.
        return kernels.believed(raw, self._table, drawn, math.floor(self._above))

    def _share(self, stored: NDArray[Any]) -> NDArray[np.float64]:
        logits = self._spec.dequantize(stored).astype(np.float64)
        return np.asarray(255.0 * (1.0 - self._weight) * (0.5 + 0.5 * np.tanh(logits / 2)))

    def _drawn(self, shape: tuple[int, ...], boxes: Boxes) -> NDArray[np.uint8]:
        """Fill the ellipse in each box with its share of the sum, the surest last."""
        field = np.zeros(shape, np.uint8)
        order = np.argsort(boxes.score, kind="stable")
        order = order[boxes.score[order] >= BLEND_FLOOR]
        x, y, width, height, score = (column[order, None] for column in boxes)
        shrink = _SHRINK * math.sqrt(self._grid.cell)
        columns, rows = self._grid.to_cells(
            x + np.maximum(width / 2 - shrink, 0.1) * _COS,
            y + np.maximum(height / 2 - shrink, 0.1) * _SIN,
        )
        corners = np.rint(np.stack([columns, rows], axis=2) * (1 << _BITS)).astype(np.int32)
        shares = np.rint(255 * self._weight * score[:, 0]).tolist()
        for outline, share in zip(corners, shares, strict=True):
            cv2.fillConvexPoly(field, outline, share, shift=_BITS)
        return field
