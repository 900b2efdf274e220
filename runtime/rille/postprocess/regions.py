"""A mask's connected regions, as ellipses of the same second moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rille.postprocess.grid import Found, Grid

if TYPE_CHECKING:
    from rille.kernels import Sums


def regions(sums: Sums, grid: Grid) -> Found:
    """Return the ellipses of some regions; their scores are the mean shares of their cells.

    Args:
        sums: of the cells of each region.
        grid: from cells to network pixels.
    """
    # Sums of whole numbers far below 2**53: the same in any order.
    count, *totals = sums.moments.T.astype(np.float64)
    cx, cy, xx, yy, xy = (total / count for total in totals)
    # A cell is a rectangle, not a point: its own variance is a twelfth of its squared side.
    xx, yy = (xx - cx * cx + 1 / 12) * grid.x**2, (yy - cy * cy + 1 / 12) * grid.y**2
    xy = (xy - cx * cy) * grid.cell
    return Found(sums.value, *grid.to_network(cx, cy), xx, yy, xy, sums.share / count)
