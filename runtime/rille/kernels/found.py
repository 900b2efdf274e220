"""From the regions of a mask to ellipses, and from ellipses to those that are published."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rille.kernels.library import address, load

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.kernels.masks import Sums

_FOUND = 7
"""Numbers that describe an ellipse found: the mask's value, centre x and y, variances xx and yy and
covariance xy of the points inside, score."""


def spread(sums: Sums, cell: tuple[float, float]) -> NDArray[np.float64]:
    """Return the ellipses of the same second moments as some regions.

    Args:
        sums: of the cells of each region.
        cell: network pixels in one cell, in x and y.

    Returns:
        (n, 7) value, x, y, xx, yy, xy and score, which is the mean share of the region's cells; in
        network pixels.
    """
    n = len(sums.value)
    if sums.moments.shape != (n, 6) or sums.share.shape != (n,):
        raise ValueError(f"no sums of {n} regions: {sums.moments.shape}, {sums.share.shape}")
    found = np.empty((n, _FOUND))
    load().rille_spread(
        *(address(sums.moments), address(sums.share), address(sums.value), n, *cell),
        address(found),
    )
    return found


def chosen(
    found: NDArray[np.float64],
    *,
    score: float,
    diameter: float,
    scale: tuple[float, float],
    shift: tuple[float, float],
    size: tuple[int, int],
) -> NDArray[np.float64]:
    """Return the ellipses that are published, in source pixels, the best first.

    Args:
        found: (n, 7) as `spread` returns them.
        score: the least that counts.
        diameter: the least of a circle of the same area, network pixels.
        scale: source pixels in a network pixel, in x and y.
        shift: where network pixel 0 lies in the source image.
        size: width and height of that image; what is centred beside it is left out.

    Returns:
        (m, 7), of equal scores in the order in which they came.
    """
    n = len(found)
    if found.shape != (n, _FOUND):
        raise ValueError(f"no ellipses: {list(found.shape)}")
    found = np.ascontiguousarray(found, float)
    order, best = np.empty(2 * n, np.int64), np.empty((n, _FOUND))
    source = np.array([*scale, *shift, *size], float)
    count = load().rille_chosen(
        *(address(found), n, score, diameter, address(source), address(order), address(best))
    )
    return best[:count]
