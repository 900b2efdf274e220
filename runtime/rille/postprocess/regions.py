"""The ellipses of a mask's connected regions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rille.ellipse import Ellipse, ellipse_from_moments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.kernels import Sums
    from rille.postprocess.blend import Grid


def ellipses(
    sums: Sums, grid: Grid, wanted: NDArray[np.bool_], least_px: float
) -> list[tuple[int, Ellipse]]:
    """Return number and ellipse of the same second moments of some regions.

    Args:
        sums: of the cells of each region.
        grid: from cells to network pixels, which the ellipses are in.
        wanted: (regions,) which.
        least_px: regions whose ellipse has a smaller diameter are left out.
    """
    # Sums of whole numbers far below 2**53: the same in any order.
    count, *totals = sums.moments.T.astype(np.float64)
    cx, cy, xx, yy, xy = (total / count for total in totals)
    xx, yy, xy = xx - cx * cx, yy - cy * cy, xy - cx * cy
    # A cell is a rectangle, not a point: its own variance is a twelfth of its squared side.
    xx, yy = (xx + 1 / 12) * grid.x**2, (yy + 1 / 12) * grid.y**2
    xy = xy * grid.cell
    # Each half axis is twice the root of an eigenvalue; a hair's breadth for the rounding.
    diameter = 4.0 * np.maximum(xx * yy - xy * xy, 0.0) ** 0.25
    kept = np.flatnonzero(wanted & (diameter >= least_px * (1 - 1e-9)))
    moments = np.stack([*grid.to_network(cx, cy), xx, yy, xy], axis=1)[kept].tolist()
    return [(int(k), ellipse_from_moments(*row)) for k, row in zip(kept, moments, strict=True)]
