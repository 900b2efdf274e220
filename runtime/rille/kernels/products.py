"""How far a network's features go along known directions: exact sums of products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rille.kernels.library import SIGN, address, load

if TYPE_CHECKING:
    from numpy.typing import NDArray


def products(
    stored: NDArray[Any], zero_point: int, rows: NDArray[np.int16]
) -> tuple[NDArray[np.float64], float]:
    """Multiply numbers, less their zero point, by each of some rows and by themselves.

    Args:
        stored: (n,); of int8 and uint8 every sum is exact.
        zero_point: what means 0.
        rows: (k, n) int16.

    Returns:
        (k,) a sum for each row, and the sum of squares.
    """
    if stored.ndim != 1 or rows.shape[1:] != stored.shape or rows.dtype != np.int16:
        raise ValueError(f"no rows for {list(stored.shape)}: {list(rows.shape)} of {rows.dtype}")
    sign = SIGN.get(stored.dtype.name)
    if sign is None:
        x = stored.astype(np.float64) - zero_point
        # Not through BLAS: that wakes threads of its own for so few numbers.
        return np.einsum("kn,n->k", rows.astype(np.float64), x), float(np.einsum("n,n->", x, x))
    if not 0 <= zero_point + sign <= 255:
        raise ValueError(f"no zero point of {stored.dtype}: {zero_point}")
    stored, rows = np.ascontiguousarray(stored), np.ascontiguousarray(rows)
    sums = np.empty(len(rows) + 1, np.int64)
    load().rille_products_8(
        *(address(stored), len(stored), sign, zero_point + sign),
        *(address(rows), len(rows), address(sums)),
    )
    found = sums.astype(np.float64)
    return found[:-1], float(found[-1])
