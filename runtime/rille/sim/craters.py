"""A population of simple lunar craters: how many, how deep, how worn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SLOPE = 1.9
"""N(>D) falls as D ** -SLOPE: between the production and the equilibrium slopes."""
PER_KM2_AT_1_KM = 0.022
"""Craters of 1 km and more in a square kilometre of highland."""
REACH = 2.6
"""A crater changes the ground out to this many radii."""
_WORN_MOST = 0.38
_WEAR_STEPS = 24
_RADIAL_STEPS = 161


@dataclass(frozen=True, slots=True)
class Craters:
    """Craters as columns, oldest first.

    Attributes:
        x_m, y_m: centres in metres from the scene's first cell, x right, y down.
        diameter_m: rim-to-rim diameter (geometric mean of both axes).
        ratio: minor over major axis, 0.9 to 1.
        angle_deg: direction of the major axis from +x towards +y.
        wear: diffusion age kappa t / R^2, 0 (fresh) to 0.38 (steady state).
    """

    x_m: NDArray[np.float64]
    y_m: NDArray[np.float64]
    diameter_m: NDArray[np.float64]
    ratio: NDArray[np.float64]
    angle_deg: NDArray[np.float64]
    wear: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.x_m)

    @property
    def depth_ratio(self) -> NDArray[np.float64]:
        """Present depth over diameter: of a fresh crater of that size, times what wear left."""
        steps = self.wear / _WORN_MOST * (_WEAR_STEPS - 1)
        return fresh_depth_ratio(self.diameter_m) * np.interp(
            steps, np.arange(_WEAR_STEPS), worn_depth_shares()
        )


def fresh_depth_ratio(diameter_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return depth over diameter of fresh craters.

    d = 0.196 D^1.010 for simple and 1.044 D^0.301 for complex craters, in km (Pike 1977).
    """
    d_km = diameter_m / 1000.0
    return np.minimum(0.196 * d_km**1.010, 1.044 * d_km**0.301) / d_km


def sample_craters(
    rng: np.random.Generator, side_m: float, smallest_m: float, largest_m: float, density: float
) -> Craters:
    """Draw a population on a square, by a power law of sizes.

    Args:
        rng: where chance comes from.
        side_m: side of the square in metres; centres reach a little beyond it.
        smallest_m, largest_m: range of diameters.
        density: factor on `PER_KM2_AT_1_KM`.

    Returns:
        The craters, oldest first: wear falls along the columns.
    """
    margin_m = 0.03 * side_m
    area_km2 = ((side_m + 2 * margin_m) / 1000.0) ** 2
    low, high = (smallest_m / 1000.0) ** -SLOPE, (largest_m / 1000.0) ** -SLOPE
    count = rng.poisson(density * PER_KM2_AT_1_KM * area_km2 * (low - high))
    # Inverse of the cumulative distribution of a truncated power law.
    diameter_km = (low - rng.random(count) * (low - high)) ** (-1 / SLOPE)
    wear = rng.uniform(0.0, _WORN_MOST, count)
    young = rng.random(count) < 0.10
    wear[young] *= 0.1
    order = np.argsort(-wear)
    return Craters(
        x_m=rng.uniform(-margin_m, side_m + margin_m, count),
        y_m=rng.uniform(-margin_m, side_m + margin_m, count),
        diameter_m=1000.0 * diameter_km[order],
        ratio=rng.uniform(0.9, 1.0, count),
        angle_deg=rng.uniform(0.0, 180.0, count),
        wear=wear[order],
    )


def fresh_profile(r: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the height of a fresh crater of depth 0.2 D, in units of D, at r radii.

    Polynomials of Fassett and Thomson (2014, eq. 4) inside, on the rim and outside to 1.5 radii,
    the floor cut flat at rim height less 0.2, then an r^-3 tail that ends at `REACH`.
    """
    inside = -0.228809953 + 0.227533882 * r + 0.083116795 * r**2 - 0.039499407 * r**3
    outside = 0.188253307 - 0.187050452 * r + 0.01844746 * r**2 + 0.01505647 * r**3
    at_edge = 0.188253307 - 0.187050452 * 1.5 + 0.01844746 * 1.5**2 + 0.01505647 * 1.5**3
    tail = at_edge * (1.5 / np.maximum(r, 1e-9)) ** 3
    tail = tail * np.clip((REACH - r) / (REACH - 1.5), 0.0, 1.0)
    height = np.where(r <= 0.98, inside, np.where(r < 1.02, 0.036822095, outside))
    height = np.where(r > 1.5, tail, height)
    return np.maximum(height, 0.036822095 - 0.2)


@lru_cache(maxsize=1)
def worn_profiles() -> NDArray[np.float32]:
    """Return (wear, radius) heights in units of D for wear 0..0.38 and radius 0..`REACH`.

    Linear diffusion of a landscape is a Gaussian blur of sigma = sqrt(2 kappa t), here in units
    of the radius.
    """
    cells_per_radius = 24
    half = int(cells_per_radius * REACH * 1.25)
    axis = np.arange(-half, half + 1) / cells_per_radius
    stamp = fresh_profile(np.hypot(axis[:, None], axis[None, :])).astype(np.float32)
    radius = np.linspace(0.0, REACH, _RADIAL_STEPS)
    rows = []
    for wear in np.linspace(0.0, _WORN_MOST, _WEAR_STEPS):
        sigma = np.sqrt(2.0 * wear) * cells_per_radius
        blurred = cv2.GaussianBlur(stamp, (0, 0), sigma) if sigma > 0 else stamp
        rows.append(np.interp(radius, axis[half:], blurred[half, half:]))
    table = np.asarray(rows, np.float32)
    return table * np.clip((REACH - radius) / 0.4, 0.0, 1.0).astype(np.float32)


def worn_depth_shares() -> NDArray[np.float64]:
    """Return the share of the fresh depth (rim to floor) that is left at each wear step."""
    table = worn_profiles()
    depth = table.max(axis=1) - table[:, 0]
    return np.asarray(depth / depth[0], np.float64)


def stamp_craters(height: NDArray[np.float32], craters: Craters, cell_m: float) -> None:
    """Add craters to a height map in place.

    Args:
        height: (n, n) float32, metres.
        craters: what to add.
        cell_m: side of a cell in metres.
    """
    table = worn_profiles()
    steps = craters.wear / _WORN_MOST * (_WEAR_STEPS - 1)
    scale = craters.diameter_m * fresh_depth_ratio(craters.diameter_m) / 0.2
    turn = np.radians(craters.angle_deg)
    for k in range(len(craters)):
        major = craters.diameter_m[k] / 2 / np.sqrt(craters.ratio[k]) / cell_m
        x, y, reach = craters.x_m[k] / cell_m, craters.y_m[k] / cell_m, REACH * major
        left, right = max(0, int(x - reach)), min(height.shape[1], int(x + reach) + 2)
        top, bottom = max(0, int(y - reach)), min(height.shape[0], int(y + reach) + 2)
        if left >= right or top >= bottom:
            continue
        dx = (np.arange(left, right, dtype=np.float32) - np.float32(x))[None, :]
        dy = (np.arange(top, bottom, dtype=np.float32) - np.float32(y))[:, None]
        c, s = np.float32(np.cos(turn[k]) / major), np.float32(np.sin(turn[k]) / major)
        along, across = dx * c + dy * s, (dy * c - dx * s) / np.float32(craters.ratio[k])
        radius = np.sqrt(along * along + across * across) * np.float32((_RADIAL_STEPS - 1) / REACH)
        step = int(steps[k])
        share = np.float32(steps[k] - step)
        profile = table[step] * (1 - share) + table[min(step + 1, _WEAR_STEPS - 1)] * share
        at = np.minimum(radius.astype(np.int32), _RADIAL_STEPS - 2)
        rest = np.minimum(radius - at, 1.0)
        height[top:bottom, left:right] += (
            profile[at] * (1 - rest) + profile[at + 1] * rest
        ) * np.float32(scale[k])
