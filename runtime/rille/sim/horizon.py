"""Casting rays at relief: what each pixel hits, by a table of horizons around the camera.

The relief is sampled on azimuths x ranges around the camera, as the tangent of the elevation at
which each point is seen. The running maximum of that along the range is the horizon so far, so a
ray hits where the horizon first rises above it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.sim.ground import Ground
from rille.sim.lens import View

if TYPE_CHECKING:
    from numpy.typing import NDArray

RANGES = 768
NEAREST_M, FARTHEST_M = 0.4, 4000.0
_RADIUS_M = {"moon": 1_737_400.0, "mars": 3_389_500.0}
_BINS = 1024


class Horizon:
    """The ground as seen from one point, ready for rays.

    Args:
        ground: the world.
        view: the camera.
        azimuths: smallest and largest azimuth wanted, radians from the camera's yaw.
        columns: number of azimuths in the table.
        lowest: tangent of the lowest elevation wanted.
    """

    def __init__(
        self,
        ground: Ground,
        view: View,
        azimuths: tuple[float, float],
        columns: int,
        lowest: float,
    ) -> None:
        self._first = np.float32(azimuths[0])
        self._step = np.float32((azimuths[1] - azimuths[0]) / (columns - 1))
        self._columns = columns
        ranges = np.geomspace(NEAREST_M, FARTHEST_M, RANGES).astype(np.float32)
        self._ranges = ranges
        angles = np.radians(view.yaw_deg) + azimuths[0] + float(self._step) * np.arange(columns)
        x = np.float32(view.x_m) + ranges[:, None] * np.cos(angles).astype(np.float32)
        y = np.float32(view.y_m) + ranges[:, None] * np.sin(angles).astype(np.float32)
        height = _heights(ground, x, y, ranges, (view.x_m, view.y_m))
        # The ground falls away below the tangent plane.
        height -= np.float32(view.z_m) + np.square(ranges)[:, None] / np.float32(
            2 * _RADIUS_M[ground.world]
        )
        tangent = height / ranges[:, None]
        top = np.maximum.accumulate(tangent, axis=0)
        self._tangent, self._top = tangent.ravel(), top.ravel()
        self.lowest_skyline = float(top[-1].min())
        self._lowest = np.float32(lowest)
        span = max(float(top[-1].max()) - lowest, 1e-3)
        self._scale = np.float32((_BINS - 1) / span)
        bins = np.clip(np.ceil((top - self._lowest) * self._scale), 0, _BINS).astype(np.int32)
        bins *= columns
        bins += np.arange(columns, dtype=np.int32)
        counts = np.bincount(bins.ravel(), minlength=(_BINS + 1) * columns)[: _BINS * columns]
        # [b, c]: how many ranges of column c have a horizon not above bin edge b.
        self._below = np.cumsum(counts.reshape(_BINS, columns), axis=0, dtype=np.int32).ravel()

    def hit(
        self, tangent: NDArray[np.float32], azimuth: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the horizontal range at which each ray meets the ground, infinite in the sky.

        Args:
            tangent: (n,) tangents of the rays' elevations.
            azimuth: (n,) azimuths in radians from the camera's yaw.
        """
        column = np.rint((azimuth - self._first) / self._step).astype(np.int32)
        np.clip(column, 0, self._columns - 1, out=column)
        k = self._first_above(tangent, column)
        sky = k >= RANGES
        np.minimum(k, RANGES - 1, out=k)
        np.maximum(k, 1, out=k)
        at = k * self._columns + column
        near, far = self._ranges.take(k - 1), self._ranges.take(k)
        over = near * (tangent - self._tangent.take(at - self._columns))
        under = far * (self._tangent.take(at) - tangent)
        share = over / np.maximum(over + under, np.float32(1e-9))
        found = near + (far - near) * share
        found[sky] = np.inf
        return np.asarray(found, np.float32)

    def skyline(self, azimuth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the tangent of the horizon's elevation at azimuths, between the columns."""
        last = self._top[-self._columns :]
        place = np.clip((azimuth - self._first) / self._step, 0, self._columns - 1.001)
        left = place.astype(np.int32)
        share = place - left
        return np.asarray(last.take(left) * (1 - share) + last.take(left + 1) * share, np.float32)

    def _first_above(
        self, tangent: NDArray[np.float32], column: NDArray[np.int32]
    ) -> NDArray[np.int32]:
        """Return the index of the first range whose horizon reaches each ray; RANGES for none."""
        place = (tangent - self._lowest) * self._scale
        bins = np.clip(place, 0, _BINS - 2).astype(np.int32)
        at = bins * self._columns + column
        # Rounding may have put a horizon into the bin beside its own.
        low = np.maximum(self._below.take(at) - 1, 0)
        high = self._below.take(at + self._columns)
        high[place >= _BINS - 2] = RANGES
        active = np.flatnonzero(low < high)
        while len(active):
            middle = (low[active] + high[active]) >> 1
            below = self._top.take(middle * self._columns + column[active]) < tangent[active]
            low[active] = np.where(below, middle + 1, low[active])
            high[active] = np.where(below, high[active], middle)
            active = active[low[active] < high[active]]
        return np.asarray(low, np.int32)


def _heights(
    ground: Ground,
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    ranges: NDArray[np.float32],
    origin: tuple[float, float],
) -> NDArray[np.float32]:
    """Return heights on the table's points, each from the finest level that holds it."""
    height = np.empty_like(x)
    off = max(abs(origin[0]), abs(origin[1]))
    levels = ground.levels
    for k in reversed(range(len(levels))):
        level = levels[k]
        # Rings before `start` lie inside a finer level, rings from `stop` outside this one.
        start = int(np.searchsorted(ranges, levels[k - 1].half_m - off)) if k else 0
        stop = int(np.searchsorted(ranges, (level.half_m + off) * 1.4143))
        rows = slice(start, stop if k < len(levels) - 1 else len(ranges))
        u, v = ((p[rows] - np.float32(level.corner_m)) / np.float32(level.cell_m) for p in (x, y))
        found = cv2.remap(level.height, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        last = np.float32(len(level.height) - 1)
        fits = (u >= 0) & (v >= 0) & (u <= last) & (v <= last)
        np.copyto(height[rows], found, where=fits if k < len(levels) - 1 else True)
    return height
