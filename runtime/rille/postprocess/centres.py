"""A map of centres and one of sizes, read as upright boxes around features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rille import kernels
from rille.postprocess.grid import Found, Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.tensor import TensorSpec

SIZE_UNIT_PX = 16.0
"""The size outputs are log2 of the width and height over this many network pixels."""
_NEAR, _ALIKE = 0.35, 2.0**0.6
"""A repeat is nearer than this share of the smaller diameter, and not so many times as large."""


class Boxes(NamedTuple):
    """n upright boxes in network pixels, (n,) float64 each.

    Attributes:
        x, y: centre.
        width, height: above 0.
        score: confidence, 0 to 1.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    width: NDArray[np.float64]
    height: NDArray[np.float64]
    score: NDArray[np.float64]

    def found(self) -> Found:
        """Return the ellipses inside, of the first label."""
        # For a filled ellipse the variance along an axis is a quarter of the squared half axis.
        xx, yy = (self.width / 4) ** 2, (self.height / 4) ** 2
        ones = np.ones(len(xx), np.int32)
        return Found(ones, self.x, self.y, xx, yy, np.zeros(len(xx)), self.score)


class CentreReader:
    """Reads the boxes off the maps of one network; not for two threads at once.

    Args:
        centre, size: the outputs.
        grid: from their cells to network pixels.
        above: the least stored number of a centre, itself left out.
        most: boxes at most; twice as many peaks are looked at.
    """

    def __init__(
        self, centre: TensorSpec, size: TensorSpec, grid: Grid, above: float, most: int
    ) -> None:
        self._centre, self._size, self._grid = centre, size, grid
        self._above, self._most = above, most
        self._peaks = kernels.PeakFinder((centre.shape[1], centre.shape[2]), centre.numpy_dtype)

    def __call__(self, centre: NDArray[Any], size: NDArray[Any]) -> Boxes:
        """Return a box for each local maximum of the centre map, the surest first.

        Args:
            centre: (h, w) as stored.
            size: (h, w, 2) width and height as stored, on the same grid.
        """
        rows, columns, around = self._peaks(centre, self._above)
        logits = self._centre.dequantize(around[:, 0])
        best = np.argsort(-logits, kind="stable")[: 2 * self._most]
        rows, columns, logits = rows[best], columns[best], logits[best]
        here, left, right, up, down = around[best].astype(np.float64).T
        x, y = self._grid.to_network(
            columns + _vertex(left, here, right), rows + _vertex(up, here, down)
        )
        log_sizes = np.clip(self._size.dequantize(size[rows, columns]), -6.0, 8.0)
        width, height = (SIZE_UNIT_PX * np.exp2(log_sizes)).astype(np.float64).T
        scores = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
        # Nested craters differ more in size than repeats do, neighbours more in place.
        kept = kernels.apart(x, y, np.sqrt(width * height), near=_NEAR, alike=_ALIKE)
        return Boxes(*(column[kept] for column in (x, y, width, height, scores)))


def _vertex(
    before: NDArray[np.float64], here: NDArray[np.float64], after: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return where between its neighbours each peak lies: the vertex of a parabola, +-0.5."""
    bend = before - 2 * here + after
    bent = bend < 0
    offset = 0.5 * (before - after) / np.where(bent, bend, 1.0)
    return np.where(bent, np.clip(offset, -0.5, 0.5), 0.0)
