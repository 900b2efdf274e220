"""Relief finer than the maps: clods, pebbles and their shadows, one tile used at many scales."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille.sim.light import shadow_height, slopes, sun_share

if TYPE_CHECKING:
    from numpy.typing import NDArray

FINEST_M = 0.005
"""Texel of the finest scale; below it nothing is modelled."""
STEP = 4.13
"""Ratio of neighbouring scales: far from a whole number, so that the tile does not repeat."""
SCALES = 6
_TEXELS = 1024
_LONGEST, _SHORTEST = 40.0, 2.5
_PEBBLES = 1500


class Detail:
    """Slopes and shadows of a band of wavelengths, sampled at scales of `STEP` to one another.

    The maps hold what is larger, so the tile holds only waves of 2.5 to 40 texels; relief that is
    fractal looks alike at each scale.

    Args:
        rng: where chance comes from.
        roughness: root-mean-square slope of the finest scale without pebbles.
        hurst: Hurst exponent; slopes fall by STEP ** (hurst - 1) from scale to scale.
        sun_azimuth_deg, sun_elevation_deg: of the light.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        roughness: float,
        hurst: float,
        sun_azimuth_deg: float,
        sun_elevation_deg: float,
    ) -> None:
        height = _band(rng, hurst)
        height *= np.float32(roughness / np.sqrt(np.mean(np.square(slopes(height, 1.0)))))
        bare = _lit(height, sun_azimuth_deg, sun_elevation_deg)
        _add_pebbles(rng, height)
        stony = _lit(height, sun_azimuth_deg, sun_elevation_deg)
        # Stones that the coarser scales could show are bodies of their own.
        self._tiles = [stony, *[bare] * (SCALES - 1)]
        self._fall = STEP ** (hurst - 1)

    def sample(
        self,
        x_m: NDArray[np.float32],
        y_m: NDArray[np.float32],
        footprint_m: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return slopes along x and y, and the share of light, at points.

        Args:
            x_m, y_m: (n,) points.
            footprint_m: (n,) size of a pixel there, in the order of `by_size`: finer detail is left
                out.

        Returns:
            (n, 3) float32.
        """
        scale = np.log(np.maximum(footprint_m, FINEST_M) * np.float32(1 / FINEST_M))
        scale *= np.float32(1 / math.log(STEP))
        starts = np.searchsorted(scale, np.arange(SCALES + 1, dtype=np.float32))
        total = np.zeros((len(x_m), 3), np.float32)
        total[:, 2] = 1.0
        for k in range(SCALES):
            # Each pixel fades from its own scale to the next coarser one, variances adding to one.
            part = slice(starts[max(k - 1, 0)], starts[k + 1])
            if part.start == part.stop:
                continue
            share = np.clip(1 - np.abs(scale[part] - np.float32(k)), 0, 1)
            found = self._look(x_m[part], y_m[part], k)
            found[:, :2] *= (np.sqrt(share) * np.float32(self._fall**k))[:, None]
            found[:, 2] = (found[:, 2] - 1) * share
            total[part] += found
        return total

    def _look(
        self, x_m: NDArray[np.float32], y_m: NDArray[np.float32], scale: int
    ) -> NDArray[np.float32]:
        texel = np.float32(1 / (FINEST_M * STEP**scale))
        # Another place of the tile for every scale.
        return gather(
            self._tiles[scale], x_m * texel + 311 * scale, y_m * texel + 173 * scale, wrap=True
        )


def by_size(values: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the order of positive values from small to large, to a percent.

    The upper half of a float32's bits sorts in linear time.
    """
    keys = (values.view(np.int32) >> 16).astype(np.int16)
    return np.argsort(keys, kind="stable")


def gather(
    values: NDArray[Any],
    columns: NDArray[np.float32],
    rows: NDArray[np.float32],
    *,
    wrap: bool = False,
) -> NDArray[Any]:
    """Return (n, channels) values at n points between cells, bilinear.

    `cv2.remap` takes maps of less than 32,767 a side, so points are folded into rows.

    Args:
        values: (h, w, channels) or (h, w), uint8 or float32.
        columns, rows: (n,) coordinates in cells.
        wrap: whether the map repeats; else its border goes on.
    """
    if wrap:
        side = np.float32(len(values))
        columns, rows = (v - np.floor(v * (1 / side)) * side for v in (columns, rows))
    count = len(columns)
    if not count:
        return np.zeros((0, values.shape[2] if values.ndim == 3 else 1), np.float32)
    width = 256 if count < 2**22 else 4096
    lines = -(-count // width)
    folded = [np.resize(v, (lines, width)) for v in (columns, rows)]
    border = cv2.BORDER_WRAP if wrap else cv2.BORDER_REPLICATE
    found = cv2.remap(values, folded[0], folded[1], cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(found).reshape(lines * width, -1)[:count]


def _lit(
    height: NDArray[np.float32], azimuth_deg: float, elevation_deg: float
) -> NDArray[np.float32]:
    """Return slopes and share of light of relief that repeats, (n, n, 3)."""
    pad = 256
    # Its shadows come from copies of itself around it.
    wide = np.pad(height, pad, mode="wrap")
    inner = slice(pad, pad + len(height))
    low, high = (
        shadow_height(wide, 1.0, azimuth_deg, elevation_deg + spread)[inner, inner]
        for spread in (0.8, -0.8)
    )
    along, across = (s[inner, inner] for s in slopes(wide, 1.0))
    return np.asarray(cv2.merge([along, across, sun_share(height, low, high)]), np.float32)


def _band(rng: np.random.Generator, hurst: float) -> NDArray[np.float32]:
    """Return relief that repeats, of waves from `_SHORTEST` to `_LONGEST` texels only."""
    k = np.fft.fftfreq(_TEXELS)[:, None], np.fft.rfftfreq(_TEXELS)[None, :]
    wave = np.hypot(*k)
    kept = (wave > 1 / _LONGEST) & (wave < 1 / _SHORTEST)
    amplitude = np.where(kept, np.maximum(wave, 1e-9) ** -(hurst + 1), 0.0)
    phase = rng.standard_normal((2, *wave.shape))
    return np.fft.irfft2(amplitude * (phase[0] + 1j * phase[1])).astype(np.float32)


def _add_pebbles(rng: np.random.Generator, height: NDArray[np.float32]) -> None:
    """Raise low domes of 1.5 to 5 texels radius, few of them large, in place."""
    radius = 1.5 * (1 - rng.random(_PEBBLES) * (1 - 3.3**-2.2)) ** (-1 / 2.2)
    places = rng.integers(0, _TEXELS, (_PEBBLES, 2))
    for r, (row, column) in zip(radius, places, strict=True):
        reach = int(r) + 1
        axis = np.arange(-reach, reach + 1, dtype=np.float32)
        wide = np.float32(rng.uniform(0.7, 1.0))
        inside = 1 - (axis[:, None] / (r * wide)) ** 2 - (axis[None, :] / r) ** 2
        dome = np.sqrt(np.maximum(inside, 0)) * (0.55 * r)
        window = np.ix_((row + axis.astype(int)) % _TEXELS, (column + axis.astype(int)) % _TEXELS)
        height[window] += dome.astype(np.float32)
