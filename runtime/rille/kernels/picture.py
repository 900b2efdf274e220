"""What the quality check wants to know of a picture, in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rille.kernels.library import address, load

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Look(NamedTuple):
    """Sums over a picture's pixels.

    Attributes:
        mean, deviation: of the grey levels.
        bright: how many pixels are at least as bright as asked.
        detail: standard deviation of the Laplacian (four neighbours, mirrored at the edges).
        digest: a number that another picture does not have; no protection against intent.
    """

    mean: float
    deviation: float
    bright: int
    detail: float
    digest: int


def look(plane: NDArray[np.uint8], white: int) -> Look:
    """Look at a picture.

    Args:
        plane: (H, W) uint8.
        white: the level from which on a pixel counts as bright.
    """
    if plane.ndim != 2 or plane.dtype != np.uint8 or plane.size == 0:
        raise ValueError(f"no plane of pixels: {list(plane.shape)} of {plane.dtype}")
    plane = np.ascontiguousarray(plane)
    sums = np.empty(6, np.int64)
    load().rille_look(address(plane), *plane.shape, white, address(sums))
    total, squares, bright, bend, bends, digest = sums.tolist()
    mean, middle = total / plane.size, bend / plane.size
    return Look(
        mean,
        max(0.0, squares / plane.size - mean * mean) ** 0.5,
        bright,
        max(0.0, bends / plane.size - middle * middle) ** 0.5,
        digest,
    )
