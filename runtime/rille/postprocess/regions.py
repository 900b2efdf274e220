"""A mask's connected regions, as ellipses of the same second moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rille.postprocess.grid import Found, Grid

if TYPE_CHECKING:
    from rille.kernels import Sums


def regions(sums: Sums, grid: Grid, least_score: float) -> Found:
    """Return the regions whose cells' mean share is at least `least_score`.

    Args:
        sums: of the cells of each region.
        grid: from cells to network pixels.
        least_score: 0 to 1.
    """
    # Sums of whole numbers far below 2**53: the same in any order.
    count, *totals = sums.moments.T.astype(np.float64)
    cx, cy, xx, yy, xy = (total / count for total in totals)
    # A cell is a rectangle, not a point: its own variance is a twelfth of its squared side.
    xx, yy = (xx - cx * cx + 1 / 12) * grid.x**2, (yy - cy * cy + 1 / 12) * grid.y**2
    xy = (xy - cx * cy) * grid.cell
    score = sums.share / count
    sure = score >= least_score
    columns = (*grid.to_network(cx, cy), xx, yy, xy, score)
    return Found(sums.value[sure], *(column[sure] for column in columns))
