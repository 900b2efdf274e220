"""A patch of Moon seen from above under a fixed Sun: relief, shadows, brightness."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.sim.craters import Craters, sample_craters, stamp_craters

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELLS = 2048
CELL_M = 50.0
_SUN_RADIUS_DEG = 0.266
_FILL = 0.0028


@dataclass(frozen=True, slots=True)
class Scene:
    """A lit patch of ground.

    Attributes:
        radiance: brightness maps, (n, n) float32, each half the size of the one before; 1 is
            a bright highland slope facing the Sun.
        craters: every crater in it.
        side_m: side in metres.
        sun_azimuth_deg: where the light comes from, from +x towards +y.
        sun_elevation_deg: above the horizon.
    """

    radiance: tuple[NDArray[np.float32], ...]
    craters: Craters
    side_m: float
    sun_azimuth_deg: float
    sun_elevation_deg: float


def build_scene(
    seed: int,
    *,
    sun_elevation_deg: float = 28.0,
    sun_azimuth_deg: float = 180.0,
    density: float = 2.6,
) -> Scene:
    """Build a patch of highland of 102 km.

    Args:
        seed: the same seed gives the same patch.
        sun_elevation_deg: above the horizon, 1.5 to 80.
        sun_azimuth_deg: where the light comes from, from +x (right) towards +y (down).
        density: factor on the number of craters.
    """
    rng = np.random.default_rng([seed, 1])
    side_m = CELLS * CELL_M
    craters = sample_craters(rng, side_m, 240.0, 22_000.0, density)
    height = fractal(rng, CELLS, roughness_m=900.0, hurst=0.95)
    stamp_craters(height, craters, CELL_M)
    albedo = 1.0 + fractal(rng, CELLS, roughness_m=0.13, hurst=0.5)
    light = shade(height, CELL_M, sun_azimuth_deg, sun_elevation_deg)
    light *= cast_shadows(height, CELL_M, sun_azimuth_deg, sun_elevation_deg)
    first = (light + np.float32(_FILL)) * albedo
    half = cv2.resize(first, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    quarter = cv2.resize(half, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return Scene(
        (first, half, quarter),  # type: ignore[arg-type]
        craters,
        side_m,
        sun_azimuth_deg,
        sun_elevation_deg,
    )


def fractal(
    rng: np.random.Generator, cells: int, roughness_m: float, hurst: float
) -> NDArray[np.float32]:
    """Return fractal relief: octaves of smooth noise, amplitude falling by 2^hurst each.

    Each octave is added at its own resolution and enlarged with the coarser ones, so that the
    whole costs little more than the last enlargement. It ends at waves of four cells.

    Args:
        rng: where chance comes from.
        cells: side of the map, 8 times a power of two.
        roughness_m: standard deviation of the coarsest octave.
        hurst: Hurst exponent, 0.76 (mare) to 0.95 (highland) on the Moon (Rosenburg 2011).
    """
    amplitude, points = roughness_m, 8
    total = np.zeros((points, points), np.float32)
    while True:
        total += rng.standard_normal((points, points), np.float32) * np.float32(amplitude)
        # White noise on a grid shows the grid when it is enlarged; a slight blur takes it away.
        total = cv2.GaussianBlur(total, (0, 0), 0.8)  # type: ignore[assignment]
        amplitude, points = amplitude * 2.0**-hurst, points * 2
        total = cv2.resize(total, (points, points), interpolation=cv2.INTER_CUBIC)  # type: ignore[assignment]
        if points == cells:
            return total


def shade(
    height: NDArray[np.float32], cell_m: float, azimuth_deg: float, elevation_deg: float
) -> NDArray[np.float32]:
    """Return the brightness of ground seen from straight above, without cast shadows.

    Lunar-Lambert law (McEwen 1991): I = 2 L mu0 / (mu0 + mu) + (1 - L) mu0, with
    L(g) = 1 - 0.019 g + 0.242e-3 g^2 - 1.46e-6 g^3, g the phase angle in degrees; mu0 and mu are
    the cosines of incidence and emission.
    """
    east = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=1 / (8 * cell_m))
    south = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=1 / (8 * cell_m))
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    level = 1.0 / np.sqrt(1.0 + east * east + south * south)
    toward = math.cos(elevation)
    incidence = level * (
        math.sin(elevation) - toward * (math.cos(azimuth) * east + math.sin(azimuth) * south)
    )
    mu0 = np.maximum(incidence, 0.0)
    phase = 90.0 - elevation_deg
    share = min(1.0, max(0.0, 1 - 0.019 * phase + 0.242e-3 * phase**2 - 1.46e-6 * phase**3))
    light = 2 * share * mu0 / np.maximum(mu0 + level, 1e-6) + (1 - share) * mu0
    return light.astype(np.float32)


def cast_shadows(
    height: NDArray[np.float32], cell_m: float, azimuth_deg: float, elevation_deg: float
) -> NDArray[np.float32]:
    """Return the share of the Sun's disc that each cell sees, 0 to 1."""
    high = shadow_height(height, cell_m, azimuth_deg, elevation_deg - _SUN_RADIUS_DEG)
    low = shadow_height(height, cell_m, azimuth_deg, elevation_deg + _SUN_RADIUS_DEG)
    # A cell below `low` sees nothing of the disc, one above `high` sees all of it.
    share = (height - low) / np.maximum(high - low, np.float32(0.05))
    return np.asarray(np.clip(share, 0.0, 1.0), np.float32)


def shadow_height(
    height: NDArray[np.float32], cell_m: float, azimuth_deg: float, elevation_deg: float
) -> NDArray[np.float32]:
    """Return how high the shadow of everything towards the Sun reaches over each cell, in metres.

    S(p) = max over t of h(p + t s) - t tan(elevation), for distances of at least one cell; the
    maximum over 2^k steps comes from two maxima over 2^(k-1), so k warps see 2^k cells far.
    """
    drop = math.tan(math.radians(max(elevation_deg, 0.1))) * cell_m
    span = float(height.max() - height.min())
    doublings = max(1, min(11, math.ceil(math.log2(max(2.0, span / drop)))))
    dx, dy = math.cos(math.radians(azimuth_deg)), math.sin(math.radians(azimuth_deg))
    reach = _towards(height, dx, dy) - np.float32(drop)
    for step in range(doublings):
        cells = 2**step
        reach = np.maximum(
            reach, _towards(reach, dx * cells, dy * cells) - np.float32(drop * cells)
        )
    return reach


def _towards(values: NDArray[np.float32], dx: float, dy: float) -> NDArray[np.float32]:
    """Return each cell's value (dx, dy) cells away; nothing stands beyond the border."""
    shift = np.array([[1, 0, dx], [0, 1, dy]])
    moved = cv2.warpAffine(
        values,
        shift,
        values.shape[::-1],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=-1e6,
    )
    return np.asarray(moved, np.float32)
