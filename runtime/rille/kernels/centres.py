"""From a map of centres to features, and from them and a map of logits to a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rille.kernels.library import SIGN, address, load

if TYPE_CHECKING:
    from numpy.typing import NDArray


class PeakFinder:
    """Finds the local maxima of maps of one shape; not for two threads at once.

    Args:
        shape: (h, w) of the maps.
        dtype: of their numbers; what takes more than a byte is looked at as float32.
    """

    def __init__(self, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        self._sign = SIGN.get(dtype.name)
        self._shape = shape
        self._dtype = dtype if self._sign is not None else np.dtype(np.float32)
        self._at = np.empty(shape[0] * shape[1], np.int32)
        self._around = np.empty((shape[0] * shape[1], 5), self._dtype)
        self._into = address(self._at), address(self._around)

    def __call__(
        self, values: NDArray[Any], above: float
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[Any]]:
        """Return the cells that are not below any of the eight around them, row by row.

        Args:
            values: (h, w); none of them is NaN.
            above: smaller numbers, and this one, are left out.

        Returns:
            (n,) rows, (n,) columns and (n, 5) what is stored there, to the left, to the right,
            above and below; one beyond the edge is the cell's own. The next call overwrites the
            last.
        """
        if values.shape != self._shape:
            raise ValueError(f"no map of {list(self._shape)}: {list(values.shape)}")
        values = np.ascontiguousarray(values, self._dtype)
        call, sign = load().rille_peaks_f, 0
        if self._sign is not None:
            call, sign = load().rille_peaks_8, self._sign
        found = call(address(values), *values.shape, sign, above + sign, *self._into)
        rows, columns = np.divmod(self._at[:found], np.int32(self._shape[1]))
        return rows, columns, self._around[:found]


def apart(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    diameter: NDArray[np.float64],
    *,
    near: float,
    alike: float,
) -> NDArray[np.bool_]:
    """Return which features are no repeat of one before them that is none itself.

    Args:
        x, y, diameter: (n,) of each, the best first.
        near: a repeat is nearer than this share of the smaller diameter,
        alike: and the larger diameter less than this many times the smaller.

    Returns:
        (n,) bool.
    """
    boxes = np.stack([x, y, diameter], axis=1).astype(np.float64, copy=False)
    kept = np.empty(len(boxes), np.bool_)
    load().rille_apart(address(boxes), len(boxes), near, alike, address(kept))
    return kept


def believed(
    raw: NDArray[Any], table: NDArray[np.uint8], drawn: NDArray[np.uint8], above: int
) -> NDArray[np.uint8]:
    """Return a mask of the cells where two shares, cut off at 255, exceed a limit.

    Args:
        raw: (h, w) int8 or uint8 logits as stored.
        table: (256,) the first share, by the byte stored; it grows with the logit.
        drawn: (h, w) the second share, mostly 0.
        above: the limit.

    Returns:
        (h, w) uint8 of 0 and 1.
    """
    sign = SIGN.get(raw.dtype.name)
    if sign is None or drawn.dtype != np.uint8 or raw.shape != drawn.shape:
        raise ValueError(f"no logits with shares: {raw.dtype}, {list(raw.shape)}")
    if table.shape != (256,) or table.dtype != np.uint8:
        raise ValueError(f"no table: {list(table.shape)} of {table.dtype}")
    raw, drawn = np.ascontiguousarray(raw), np.ascontiguousarray(drawn)
    table = np.ascontiguousarray(table)
    mask = np.empty(raw.shape, np.uint8)
    least = int(np.count_nonzero(table <= above))
    load().rille_believed_8(
        *(address(raw), raw.size, sign, address(table), address(drawn)),
        *(least, above, address(mask)),
    )
    return mask
