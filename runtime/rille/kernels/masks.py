"""From a segmenter's stored numbers to a mask and its connected regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rille.kernels.library import SIGN, address, load

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RUN = 6
"""Numbers of 32 bits that describe a run of cells."""


class Sums(NamedTuple):
    """What was added up over the cells of each of n regions.

    Attributes:
        value: (n,) the mask's value there.
        share: (n,) sum of the cells' numbers.
        moments: (n, 6) how many cells; sums of x, y, x * x, y * y and x * y.
    """

    value: NDArray[np.int32]
    share: NDArray[np.float64]
    moments: NDArray[np.int64]


def largest(raw: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the first channel of the largest number for each cell: argmax, many times as fast.

    Args:
        raw: (h, w, channels), up to 256 channels; none of its numbers is NaN.

    Returns:
        (h, w) uint8.
    """
    channels = raw.shape[2]
    if not 1 <= channels <= 256:
        raise ValueError(f"{channels} channels, 1 to 256 can be told apart")
    out = np.empty(raw.shape[:2], np.uint8)
    sign = SIGN.get(raw.dtype.name)
    if sign is None:
        raw = np.ascontiguousarray(raw, np.float32)  # also int16, of which it holds each number
        load().rille_largest_f(address(raw), out.size, channels, address(out))
    else:
        raw = np.ascontiguousarray(raw)
        load().rille_largest_8(address(raw), out.size, channels, sign, address(out))
    return out


def counts(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how many cells of a mask have each value.

    Args:
        mask: uint8 of any shape.

    Returns:
        (256,) int64.
    """
    mask = _mask(mask)
    found = np.empty(256, np.int64)
    load().rille_counts(address(mask), mask.size, address(found))
    return found


class RegionFinder:
    """Finds the regions of masks of one shape; not for two threads at once.

    Args:
        shape: (h, w) of the masks.
        values: the values whose regions are looked for.
    """

    def __init__(self, shape: tuple[int, int], values: Sequence[int]) -> None:
        self._shape = shape
        self._wanted = np.zeros(256, np.uint8)
        self._wanted[list(values)] = 1
        self._runs = np.empty((shape[0] * shape[1], _RUN), np.int32)
        self._shares = np.zeros(shape)

    def shares(
        self, raw: NDArray[Any], mask: NDArray[np.uint8], table: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the probability of what a mask says, for cells of the wanted values.

        Args:
            raw: (h, w, channels) of one byte each. One channel: `table` holds probabilities.
                Several: it holds powers, of whose sum the mask's own is a share.
            mask: (h, w), values below the number of channels where there are several.
            table: (256,) by the byte stored.

        Returns:
            (h, w), other cells of which mean nothing; the next call overwrites it.
        """
        raw, mask = np.ascontiguousarray(raw), _mask(mask)
        right = raw.shape[:2] == mask.shape == self._shape and raw.itemsize == 1
        if not right or table.shape != (256,) or table.dtype != np.float64:
            raise ValueError(f"no masks of {list(self._shape)}: {list(raw.shape)} of {raw.dtype}")
        if raw.shape[2] > 1 and mask.max(initial=0) >= raw.shape[2]:
            raise ValueError(f"the mask has values beyond its {raw.shape[2]} channels")
        load().rille_shares_8(
            *(address(raw), mask.size, raw.shape[2], address(mask), address(self._wanted)),
            *(address(table), address(self._shares)),
        )
        return self._shares

    def cells(self, mask: NDArray[np.uint8]) -> NDArray[np.intp]:
        """Return the cells of the wanted values, numbered row by row."""
        return np.flatnonzero(self._wanted.take(mask.ravel()))

    def __call__(self, mask: NDArray[np.uint8], shares: NDArray[np.float64]) -> Sums:
        """Return the regions of equal values, cells touching at corners being neighbours.

        Args:
            mask: (h, w).
            shares: (h, w) a number for each cell of the wanted values.

        Returns:
            Their sums, in the order of their first cells.
        """
        mask, shares = _mask(mask), np.ascontiguousarray(shares, np.float64)
        if not mask.shape == shares.shape == self._shape:
            raise ValueError(f"no mask of {list(self._shape)}: {list(mask.shape)}")
        runs = address(self._runs)
        found = load().rille_regions(address(mask), *mask.shape, address(self._wanted), runs)
        number, regions = found & 0xFFFFFFFF, found >> 32
        sums = Sums(
            np.zeros(regions, np.int32), np.zeros(regions), np.zeros((regions, 6), np.int64)
        )
        load().rille_sums(
            *(runs, number, address(shares), mask.shape[1]),
            *(address(sums.moments), address(sums.share), address(sums.value)),
        )
        return sums


def _mask(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if mask.dtype != np.uint8:
        raise ValueError(f"no mask: {list(mask.shape)} of {mask.dtype}")
    return np.ascontiguousarray(mask)
