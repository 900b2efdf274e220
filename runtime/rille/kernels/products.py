"""How far a network's features go along known directions: exact sums of products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.kernels.library import SIGN, address, load

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ProductSums:
    """Multiplies numbers, less their zero point, by each of some rows and by themselves.

    Not for two threads at once.

    Args:
        rows: (k, n) int16.
        dtype: of the numbers; of int8 and uint8 every sum is exact.
        zero_point: what means 0.
    """

    def __init__(self, rows: NDArray[np.int16], dtype: np.dtype[Any], zero_point: int) -> None:
        if rows.ndim != 2 or rows.dtype != np.int16:
            raise ValueError(f"no rows: {list(rows.shape)} of {rows.dtype}")
        sign = SIGN.get(dtype.name)
        if sign is not None and not 0 <= zero_point + sign <= 255:
            raise ValueError(f"no zero point of {dtype}: {zero_point}")
        self._rows = np.ascontiguousarray(rows)
        self._sums = np.empty(len(rows) + 1, np.int64)
        self._kind, self._zero_point, self._call = (rows.shape[1:], dtype), zero_point, None
        if sign is not None:
            # Prepared once: what runs between two inferences finds nothing of itself in a cache.
            self._call = load().rille_products_8
            self._before = rows.shape[1], sign, zero_point + sign
            self._after = address(self._rows), len(rows), address(self._sums)

    def __call__(self, stored: NDArray[Any]) -> Sequence[float]:
        """Return the sum for each row, and last the sum of squares.

        Args:
            stored: (n,).
        """
        if (stored.shape, stored.dtype) != self._kind:
            raise ValueError(f"not what was prepared for: {list(stored.shape)} of {stored.dtype}")
        if self._call is None:
            x = stored.astype(np.float64) - self._zero_point
            # Not through BLAS: that wakes threads of its own for so few numbers.
            along = np.einsum("kn,n->k", self._rows.astype(np.float64), x)
            return [*along.tolist(), float(np.einsum("n,n->", x, x))]
        stored = np.ascontiguousarray(stored)
        self._call(address(stored), *self._before, *self._after)
        sums: list[int] = self._sums.tolist()
        return sums
