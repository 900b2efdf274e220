"""Sunlight on relief: photometry of the ground, and the shadows it casts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUN_RADIUS_DEG = {"moon": 0.266, "mars": 0.175}


def towards_sun(azimuth_deg: float, elevation_deg: float) -> NDArray[np.float32]:
    """Return the unit vector to the Sun: x right, y down the map, z up."""
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    flat = math.cos(elevation)
    return np.array(
        [flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)], np.float32
    )


def slopes(
    height: NDArray[np.float32], cell_m: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the slopes along x and along y, by Sobel's operator."""
    east = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=1 / (8 * cell_m))
    south = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=1 / (8 * cell_m))
    return np.asarray(east, np.float32), np.asarray(south, np.float32)


def lunar_share(cos_phase: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return McEwen's (1991) L(g): how much of the light obeys Lommel and Seeliger's law.

    L = 1 - 0.019 g + 0.242e-3 g^2 - 1.46e-6 g^3, g the phase angle in degrees, within 0 to 1.
    """
    g = np.degrees(np.arccos(np.clip(cos_phase, -1.0, 1.0)))
    share = 1 - 0.019 * g + 0.242e-3 * g**2 - 1.46e-6 * g**3
    return np.asarray(np.clip(share, 0.0, 1.0), np.float32)


def lunar_lambert(
    mu0: NDArray[np.float32], mu: NDArray[np.float32], share: NDArray[np.float32] | float
) -> NDArray[np.float32]:
    """Return I = 2 L mu0 / (mu0 + mu) + (1 - L) mu0.

    Args:
        mu0: cosine of the incidence angle, at least 0.
        mu: cosine of the emission angle.
        share: L, see `lunar_share`.
    """
    light = 2 * share * mu0 / np.maximum(mu0 + mu, np.float32(1e-6)) + (1 - share) * mu0
    return np.asarray(light, np.float32)


def shade(
    height: NDArray[np.float32], cell_m: float, azimuth_deg: float, elevation_deg: float
) -> NDArray[np.float32]:
    """Return the brightness of ground seen from straight above, without cast shadows."""
    east, south = slopes(height, cell_m)
    sun = towards_sun(azimuth_deg, elevation_deg)
    level = 1.0 / np.sqrt(1.0 + east * east + south * south)
    mu0 = np.asarray(level * (sun[2] - sun[0] * east - sun[1] * south), np.float32)
    lit = np.maximum(mu0, np.float32(0))
    return lunar_lambert(lit, np.asarray(level, np.float32), float(lunar_share(sun[2:])[0]))


def cast_shadows(
    height: NDArray[np.float32],
    cell_m: float,
    azimuth_deg: float,
    elevation_deg: float,
    sun_radius_deg: float = SUN_RADIUS_DEG["moon"],
) -> NDArray[np.float32]:
    """Return the share of the Sun's disc that each cell sees, 0 to 1."""
    high = shadow_height(height, cell_m, azimuth_deg, elevation_deg - sun_radius_deg)
    low = shadow_height(height, cell_m, azimuth_deg, elevation_deg + sun_radius_deg)
    return sun_share(height, low, high)


def sun_share(
    height: NDArray[np.float32], low: NDArray[np.float32], high: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the share of the Sun's disc seen at a height between two shadow heights.

    Args:
        height: of the points, metres.
        low: shadow height of the disc's upper edge; below it nothing of the disc is seen.
        high: shadow height of its lower edge; above it all of the disc is seen.
    """
    share = (height - low) / np.maximum(high - low, np.float32(1e-3))
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
