"""Connected regions of a mask, their means and their ellipses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.ellipse import Ellipse, ellipse_from_moments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.postprocess.blend import Grid


@dataclass(frozen=True, slots=True)
class Regions:
    """Connected regions of equal values in a mask, those of one value after those of another.

    A region is kept as runs of neighbouring cells in a row: sums over a run have closed forms, and
    there are many fewer runs than cells.

    Attributes:
        cells: (n,) the cells inside, numbered row by row.
        width: cells in a row.
        first: (runs,) where in `cells` each run begins.
        which: (runs,) number of the region that each is in, from 0.
        value: the mask's value in each region.
    """

    cells: NDArray[np.intp]
    width: int
    first: NDArray[np.intp]
    which: NDArray[np.int32]
    value: list[int]

    @classmethod
    def of(cls, mask: NDArray[np.uint8], values: Sequence[int]) -> Regions | None:
        """Return the regions of some values of a (h, w) mask; None where there is none."""
        found: list[int] = []
        cells: list[NDArray[np.intp]] = []
        numbers: list[NDArray[np.int32]] = []
        for value in values:
            inside = mask == value
            number, regions = cv2.connectedComponents(inside.view(np.uint8), connectivity=8)
            if number > 1:
                cells.append(np.flatnonzero(inside))
                # The first region is what lies outside.
                numbers.append(regions.ravel().take(cells[-1]) + np.int32(len(found) - 1))
                found += [value] * (number - 1)
        if not found:
            return None
        # From here on all values in one go: the time goes into calls, not into cells.
        at, which = np.concatenate(cells), np.concatenate(numbers)
        starts = np.ones(len(at), bool)
        starts[1:] = (np.diff(at) != 1) | (np.diff(which) != 0) | (at[1:] % mask.shape[1] == 0)
        first = np.flatnonzero(starts)
        return cls(at, mask.shape[1], first, which[first], found)

    def mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean of the cells' (n,) values in each region."""
        ends = np.append(self.first[1:], len(self.cells))
        return np.asarray(
            np.bincount(self.which, np.add.reduceat(values, self.first))
            / np.bincount(self.which, ends - self.first)
        )

    def ellipses(
        self, grid: Grid, wanted: NDArray[np.bool_], least_px: float
    ) -> list[tuple[int, Ellipse]]:
        """Return number and ellipse of the same second moments of some regions.

        Args:
            grid: from cells to network pixels, which the ellipses are in.
            wanted: (regions,) which.
            least_px: regions whose ellipse has a smaller diameter are left out.
        """
        cx, cy, xx, yy, xy = self._moments()
        # A cell is a rectangle, not a point: its own variance is a twelfth of its squared side.
        xx, yy = (xx + 1 / 12) * grid.x**2, (yy + 1 / 12) * grid.y**2
        xy = xy * grid.cell
        # Each half axis is twice the root of an eigenvalue; a hair's breadth for the rounding.
        diameter = 4.0 * np.maximum(xx * yy - xy * xy, 0.0) ** 0.25
        kept = np.flatnonzero(wanted & (diameter >= least_px * (1 - 1e-9)))
        moments = np.stack([*grid.to_network(cx, cy), xx, yy, xy], axis=1)[kept].tolist()
        return [(int(k), ellipse_from_moments(*row)) for k, row in zip(kept, moments, strict=True)]

    def _moments(self) -> tuple[NDArray[np.float64], ...]:
        """Return mean column, mean row, their variances and covariance in each region.

        The sums are of whole numbers far below 2**53, and so the same in any order.
        """
        n = np.diff(self.first, append=len(self.cells)).astype(np.float64)
        rows, columns = np.divmod(self.cells[self.first], self.width)
        y, x = rows.astype(np.float64), columns.astype(np.float64)
        sum_x = n * (2 * x + n - 1) / 2
        sum_xx = n * x * x + x * n * (n - 1) + n * (n - 1) * (2 * n - 1) / 6
        count, mx, my, mxx, myy, mxy = (
            np.bincount(self.which, values)
            for values in (n, sum_x, n * y, sum_xx, n * y * y, y * sum_x)
        )
        cx, cy = mx / count, my / count
        return cx, cy, mxx / count - cx * cx, myy / count - cy * cy, mxy / count - cx * cy
