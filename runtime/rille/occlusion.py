"""Something on the lens: a part of the picture that went smooth and still while the rest moves.

Dust or mud on a lens is out of focus: what lies behind it loses its detail and no longer changes.
Looked at are 16 x 12 cells, each against its own past, with a constant amount of memory. What was
there from the first frame on is not told from sky, and nothing is told at the upper edge, where the
horizon rises and sinks, nor from a camera that stands still. What takes seconds to show is looked
for in every fourth frame only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS, ROWS = 16, 12
_EVERY = 4
_RATE, _MEMORY = 0.2, 0.004
"""Shares by which a frame looked at enters the trend, and by which the best detail is forgotten."""
_LEAST_CHANGE = 1.0
"""Grey levels between frames looked at, of the median cell, below which the camera stands still."""
_STILL, _SMOOTH, _LOST = 0.3, 0.3, 0.3
_LEAST_CELLS = 3
_GRID = (COLUMNS, ROWS)
_SMALL = (5 * COLUMNS, 5 * ROWS)
"""Detail is looked for at this size, where a sensor's noise is averaged out."""


class Occlusion:
    """Watches the frames of one camera, in order.

    Args:
        frames: how long a part must be smooth and still.
    """

    def __init__(self, frames: int = 100) -> None:
        self._frames = frames
        self._before: NDArray[np.float32] | None = None
        self._change = np.zeros((ROWS, COLUMNS), np.float32)
        self._detail: NDArray[np.float32] = np.zeros((ROWS, COLUMNS), np.float32)
        self._best = np.zeros((ROWS, COLUMNS), np.float32)
        self._since = np.zeros((ROWS, COLUMNS), np.int32)
        self._seen = 0
        self._taken = 0
        self._found = False

    def __call__(self, grey: NDArray[np.uint8]) -> bool:
        """Take a frame, (H, W); return whether a part of it has been covered for a while."""
        if self._taken % _EVERY == 0:
            self._found = self._look(grey)
        self._taken += 1
        return self._found

    def _look(self, grey: NDArray[np.uint8]) -> bool:
        small = cv2.resize(grey, _SMALL, interpolation=cv2.INTER_AREA).astype(np.float32)
        fine = np.abs(cv2.Laplacian(small, cv2.CV_32F, ksize=1))
        level, detail = (
            np.asarray(cv2.resize(image, _GRID, interpolation=cv2.INTER_AREA), np.float32)
            for image in (small, fine)
        )
        if self._before is None:
            self._before, self._detail = level, detail
            return False
        change, self._before = np.abs(level - self._before), level
        self._seen += 1
        rate = max(_RATE, 1.0 / self._seen)
        self._change += rate * (change - self._change)
        self._detail += rate * (detail - self._detail)
        moving, sharp = _median(self._change), _median(self._detail)
        if moving < _LEAST_CHANGE or sharp <= 0:
            return False
        return self._covered(self._change / moving, self._detail / sharp)

    def _covered(self, change: NDArray[np.float32], detail: NDArray[np.float32]) -> bool:
        """Count how long each cell has been covered; both are shares of the median cell's."""
        if self._seen > 1 / _RATE:  # a trend of a few looks is no trend
            self._best = np.maximum(self._best * (1 - _MEMORY), detail)
        covered = (change < _STILL) & (detail < _SMOOTH) & (detail < _LOST * self._best)
        self._since[covered] += _EVERY
        self._since[~covered] = 0
        lasting = (self._since >= self._frames).astype(np.uint8)
        if np.count_nonzero(lasting) < _LEAST_CELLS:
            return False
        _, _, boxes, _ = cv2.connectedComponentsWithStats(lasting, connectivity=4)
        return any(
            box[cv2.CC_STAT_AREA] >= _LEAST_CELLS and box[cv2.CC_STAT_TOP] > 0 for box in boxes[1:]
        )


def _median(cells: NDArray[np.float32]) -> float:
    """Return the median of an even number of cells, in a fifth of the time NumPy's takes."""
    middle = cells.size // 2
    low, high = np.partition(cells, (middle - 1, middle), axis=None)[middle - 1 : middle + 1]
    return (float(low) + float(high)) / 2
