"""A mask that also believes in the features found: their ellipses beside the mask's own logits.

Where a crater is large and worn, its floor looks like any ground and the mask output gives it up in
the middle; its centre and size are found all the same. On real tiles the mean of both overlaps the
labels better than either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille.bundle.manifest import Decision
from rille.ellipse import Ellipse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.tensor import TensorSpec

BLEND_FLOOR = 0.2
"""Features of a lower score do not enter the mask."""
_CORNERS = 24
_SHRINK = 0.35
"""Cells: OpenCV also fills the cells that an outline touches."""
_BITS = 4
_angles = np.arange(_CORNERS) * (2 * math.pi / _CORNERS)
_COS, _SIN = np.cos(_angles), np.sin(_angles)


@dataclass(frozen=True, slots=True)
class Grid:
    """An output grid: how many network pixels one of its cells is wide and high."""

    x: float
    y: float

    @classmethod
    def between(cls, taken: TensorSpec, given: TensorSpec) -> Grid:
        """Return the grid of an output of shape (1, h, w, c) for an input (1, H, W, C)."""
        return cls(taken.shape[2] / given.shape[2], taken.shape[1] / given.shape[1])

    @property
    def cell(self) -> float:
        """Network pixels in one cell."""
        return self.x * self.y

    def to_network(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Map points of the grid to network pixels (centre of pixel 0 at 0.0)."""
        return (x + 0.5) * self.x - 0.5, (y + 0.5) * self.y - 0.5

    def to_cells(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Map network pixels to points of the grid; the inverse of `to_network`."""
        return (x + 0.5) / self.x - 0.5, (y + 0.5) / self.y - 0.5


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

    def __call__(
        self, raw: NDArray[Any], found: Sequence[tuple[str, Ellipse, float]]
    ) -> NDArray[np.uint8]:
        """Return the mask.

        Args:
            raw: (h, w) stored mask logits.
            found: label, ellipse in network pixels and score of each feature, in any order.

        Returns:
            (h, w) uint8 of 0 and 1.
        """
        drawn = self._drawn(raw.shape, found)
        if self._table is None:
            return np.asarray(self._share(raw) + drawn > self._above).view(np.uint8)
        # Both are at most 255 times their shares, which add up to one.
        both = cv2.add(cv2.LUT(raw.view(np.uint8), self._table), drawn)
        return cv2.threshold(both, math.floor(self._above), 1, cv2.THRESH_BINARY, dst=both)[1]  # type: ignore[return-value]

    def _share(self, stored: NDArray[Any]) -> NDArray[np.float64]:
        logits = self._spec.dequantize(stored).astype(np.float64)
        return np.asarray(255.0 * (1.0 - self._weight) * (0.5 + 0.5 * np.tanh(logits / 2)))

    def _drawn(
        self, shape: tuple[int, ...], found: Sequence[tuple[str, Ellipse, float]]
    ) -> NDArray[np.uint8]:
        """Fill each ellipse with its share of the sum, the surest last."""
        field = np.zeros(shape, np.uint8)
        kept = sorted((item for item in found if item[2] >= BLEND_FLOOR), key=lambda item: item[2])
        if not kept:
            return field
        ellipses = [item[1] for item in kept]
        table = np.array([(e.x, e.y, e.semi_major, e.semi_minor) for e in ellipses])
        turn = np.radians([e.angle_deg for e in ellipses])[:, None]
        shrink = _SHRINK * math.sqrt(self._grid.cell)
        along = np.maximum(table[:, 2:3] - shrink, 0.1) * _COS
        across = np.maximum(table[:, 3:4] - shrink, 0.1) * _SIN
        x = table[:, 0:1] + along * np.cos(turn) - across * np.sin(turn)
        y = table[:, 1:2] + along * np.sin(turn) + across * np.cos(turn)
        columns, rows = self._grid.to_cells(x, y)
        corners = np.rint(np.stack([columns, rows], axis=2) * (1 << _BITS)).astype(np.int32)
        for outline, (_, _, score) in zip(corners, kept, strict=True):
            cv2.fillConvexPoly(field, outline, round(255 * self._weight * score), shift=_BITS)
        return field
