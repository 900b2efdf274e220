"""From a map of centres to features, and from them and a map of logits to a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rille.kernels.library import SIGN, address, load

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BOX = 6
"""Numbers that describe a box."""


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
    ) -> tuple[NDArray[np.int32], NDArray[Any]]:
        """Return the cells that are not below any of the eight around them, row by row.

        Args:
            values: (h, w); none of them is NaN.
            above: smaller numbers, and this one, are left out.

        Returns:
            (n,) cells, numbered row by row, and (n, 5) what is stored there, to the left, to the
            right, above and below; one beyond the edge is the cell's own. The next call overwrites
            both.
        """
        if values.shape != self._shape:
            raise ValueError(f"no map of {list(self._shape)}: {list(values.shape)}")
        values = np.ascontiguousarray(values, self._dtype)
        call, sign = load().rille_peaks_f, 0
        if self._sign is not None:
            call, sign = load().rille_peaks_8, self._sign
        found = call(address(values), *values.shape, sign, above + sign, *self._into)
        return self._at[:found], self._around[:found]


def boxes(
    at: NDArray[np.int32],
    around: NDArray[Any],
    score: NDArray[np.float64],
    sizes: NDArray[np.float64],
    *,
    columns: int,
    cell: tuple[float, float],
    most: int,
    near: float,
    alike: float,
) -> NDArray[np.float64]:
    """Return upright boxes for peaks, without what repeats a better one that is kept.

    A peak lies where a parabola through it and its neighbours has its vertex, at most half a cell
    off.

    Args:
        at, around: (n,) and (n, 5), as `PeakFinder` returns them.
        score: (n,) that goes into the boxes.
        sizes: (n, 2) width and height in network pixels, above 0.
        columns: of the map.
        cell: network pixels in one of its cells, in x and y.
        most: how many of the highest peaks are looked at.
        near: a repeat is nearer than this share of the smaller diameter,
        alike: and the larger diameter less than this many times the smaller.

    Returns:
        (m, 6) x, y, width, height in network pixels, score, and diameter of the circle of the same
        area; the best first.
    """
    n = len(at)
    if around.shape != (n, 5) or score.shape != (n,) or sizes.shape != (n, 2):
        raise ValueError(f"no {n} peaks: {around.shape}, {score.shape}, {sizes.shape}")
    around = around.astype(np.float64)
    order = np.argsort(-around[:, 0], kind="stable")[:most].astype(np.int64, copy=False)
    at = np.ascontiguousarray(at, np.int32)
    score, sizes = np.ascontiguousarray(score, float), np.ascontiguousarray(sizes, float)
    made = np.empty((len(order), _BOX))
    kept = load().rille_boxes(
        *(address(order), len(order), address(at), address(around), address(score)),
        *(address(sizes), columns, *cell, near, alike, address(made)),
    )
    return made[:kept]


def believed(
    raw: NDArray[Any],
    boxes: NDArray[np.float64],
    limits: NDArray[np.float64],
    cell: tuple[float, float],
) -> NDArray[np.uint8]:
    """Return a mask of the logits above a limit, which is another one in the ellipse of each box.

    Args:
        raw: (h, w) logits as stored; none of them is NaN.
        boxes: (n, 6) as `boxes` returns them. Each ellipse takes exactly the cells
            whose centres are inside; where several do, the first box counts.
        limits: (256,) the first counts where no box is, the others by a box's score in 255ths,
            rounded to whole ones.
        cell: network pixels in one cell, in x and y.

    Returns:
        (h, w) uint8 of 0 and 1.
    """
    if boxes.ndim != 2 or boxes.shape[1] != _BOX or limits.shape != (256,):
        raise ValueError(f"no boxes and limits: {boxes.shape}, {limits.shape}")
    sign = SIGN.get(raw.dtype.name)
    call = load().rille_believed_f if sign is None else load().rille_believed_8
    raw = np.ascontiguousarray(raw, np.float32 if sign is None else raw.dtype)
    boxes, limits = np.ascontiguousarray(boxes, float), np.ascontiguousarray(limits, float)
    mask = np.empty(raw.shape, np.uint8)
    call(
        *(address(raw), *raw.shape, sign or 0, address(boxes), len(boxes), *cell),
        *(address(limits), address(mask)),
    )
    return mask
