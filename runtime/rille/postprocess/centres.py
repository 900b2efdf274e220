"""A map of centres and one of sizes, read as upright boxes around features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rille import kernels
from rille.postprocess.logits import Reading, probability

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.tensor import TensorSpec

SIZE_UNIT_PX = 16.0
"""The size outputs are log2 of the width and height over this many network pixels."""
_NEAR, _ALIKE = 0.35, 2.0**0.6
"""A repeat is nearer than this share of the smaller diameter, and not so many times as large."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """Upright boxes in network pixels, the surest first.

    Attributes:
        rows: (n, 6) float64, as `rille.kernels.boxes` returns them.
    """

    rows: NDArray[np.float64]

    @property
    def score(self) -> NDArray[np.float64]:
        """(n,) confidence, 0 to 1."""
        return self.rows[:, 4]

    def found(self) -> NDArray[np.float64]:
        """Return the ellipses inside, of the first label; see `rille.kernels.spread`."""
        found = np.zeros((len(self.rows), 7))
        found[:, 0] = 1
        found[:, 1:3] = self.rows[:, :2]
        # For a filled ellipse the variance along an axis is a quarter of the squared half axis.
        found[:, 3:5] = (self.rows[:, 2:4] / 4) ** 2
        found[:, 6] = self.score
        return found


class CentreReader:
    """Reads the boxes off the maps of one network; not for two threads at once.

    Args:
        centre, size: the outputs.
        cell: network pixels in one of their cells, in x and y.
        above: the least stored number of a centre, itself left out.
        most: boxes at most; twice as many peaks are looked at.
    """

    def __init__(
        self,
        centre: TensorSpec,
        size: TensorSpec,
        cell: tuple[float, float],
        above: float,
        most: int,
    ) -> None:
        _, height, width, _ = centre.shape
        self._columns, self._cell = width, cell
        self._above, self._most = above, most
        self._peaks = kernels.PeakFinder((height, width), centre.numpy_dtype)
        self._score = Reading(centre, probability)
        self._side = Reading(size, _side_px)

    def __call__(self, centre: NDArray[Any], size: NDArray[Any]) -> Boxes:
        """Return a box for each local maximum of the centre map, the surest first.

        Args:
            centre: (h, w) as stored.
            size: (h, w, 2) width and height as stored, on the same grid.
        """
        at, around = self._peaks(centre, self._above)
        rows = kernels.boxes(
            at,
            around,
            self._score(around[:, 0]),
            self._side(size.reshape(-1, 2)[at]),
            columns=self._columns,
            cell=self._cell,
            most=2 * self._most,
            # Nested craters differ more in size than repeats do, neighbours more in place.
            near=_NEAR,
            alike=_ALIKE,
        )
        return Boxes(rows)


def _side_px(outputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the network pixels that a size output means."""
    return (SIZE_UNIT_PX * np.exp2(np.clip(outputs, -6.0, 8.0))).astype(np.float64)
