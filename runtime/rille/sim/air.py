"""Colour and air: Mars has both, the Moon has neither."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AMBIENT = {"moon": 0.010, "mars": 0.20}
_GROUND = np.array([0.620, 0.375, 0.215], np.float32)
_ROCK = np.array([0.475, 0.337, 0.238], np.float32)
_METAL = np.array([0.30, 0.30, 0.31], np.float32)
_HAZE = np.array([0.400, 0.285, 0.185], np.float32)
_ZENITH = np.array([0.290, 0.215, 0.150], np.float32)
_GLOW = np.array([0.30, 0.34, 0.40], np.float32)
_VISIBILITY_M = 1400.0
_GLOW_DEG = 11.0


def ambient(world: str, sun_elevation_deg: float) -> float:
    """Return the light that reaches ground in shadow, against 1 for full sunlight at the zenith.

    On the Moon it comes from sunlit ground, on Mars from the sky: both grow with the Sun's height.
    """
    return _AMBIENT[world] * (0.15 * (world == "mars") + math.sin(math.radians(sun_elevation_deg)))


def martian(
    radiance: NDArray[np.float32],
    range_m: NDArray[np.float32],
    kind: NDArray[np.uint8],
    tangent: NDArray[np.float32],
    cos_sun: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return a view on Mars in colour, with haze, and with a sky.

    Colours and visibility were chosen by eye from surface images; no radiative transfer is done.

    Args:
        radiance: (H, W) brightness without air.
        range_m: (H, W) distance, infinite in the sky.
        kind: (H, W) 0 ground, 1 rock, 2 hardware.
        tangent: (H, W) tangent of each ray's elevation.
        cos_sun: (H, W) cosine of the angle between each ray and the Sun.

    Returns:
        (H, W, 3) float32 RGB.
    """
    surface = np.stack([_GROUND, _ROCK, _METAL])[kind] * radiance[..., None]
    clear = np.exp(range_m * np.float32(-1 / _VISIBILITY_M))[..., None]
    height = np.clip(tangent * np.float32(2.2), 0, 1)[..., None]
    away = np.degrees(np.arccos(np.clip(cos_sun, -1, 1)))
    glow = np.exp(away * np.float32(-1 / _GLOW_DEG))[..., None] * _GLOW
    sky = _HAZE + (_ZENITH - _HAZE) * height + glow
    return np.asarray(surface * clear + sky * (1 - clear), np.float32)


def tinted(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a grey view from above in the colours of Mars, the haze below it lifting the shadows.

    Args:
        pixels: (H, W) uint8.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    share = np.arange(256, dtype=np.float32)[:, None] / 255
    colours = (0.78 * share * _GROUND / _GROUND[0] + 0.22 * _HAZE / _HAZE[0] * 0.6) * 255
    return np.asarray(np.clip(colours, 0, 255).astype(np.uint8)[pixels], np.uint8)
