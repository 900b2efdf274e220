"""Rocks: how many, how large, where they lie, and their shapes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from rille.sim.craters import Craters

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPES = 16
"""Different polyhedra; each rock stretches, turns and buries one of them."""
FACES = 22
_RIM_FALLOFF = 0.45


@dataclass(frozen=True, slots=True)
class Rocks:
    """Rocks as columns.

    Attributes:
        x_m, y_m: centres in metres.
        diameter_m: largest horizontal extent.
        axes_m: (n, 3) half axes of the ellipsoid that the polyhedron is cut from.
        yaw: turn about the vertical, radians.
        lift_m: height of the centre over the ground there; negative when buried.
        shape: which polyhedron.
        albedo: brightness relative to the ground.
    """

    x_m: NDArray[np.float64]
    y_m: NDArray[np.float64]
    diameter_m: NDArray[np.float64]
    axes_m: NDArray[np.float64]
    yaw: NDArray[np.float64]
    lift_m: NDArray[np.float64]
    shape: NDArray[np.intp]
    albedo: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.x_m)

    def pick(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> Rocks:
        """Return some of them."""
        return Rocks(*(getattr(self, f.name)[which] for f in fields(self)))


def joined(*parts: Rocks) -> Rocks:
    """Return several fields of rocks as one."""
    return Rocks(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Rocks)))


def sample_rocks(
    rng: np.random.Generator,
    side_m: float,
    sizes_m: tuple[float, float],
    *,
    per_m2: float,
    slope: float,
    craters: Craters,
    on_rims: float,
) -> Rocks:
    """Draw rocks on a square around the origin: N(>d) = per_m2 * d ** -slope a square metre.

    Args:
        rng: where chance comes from.
        side_m: side of the square, metres.
        sizes_m: smallest and largest diameter.
        per_m2, slope: the law (VIPER environment specification: 3e-4 and 2.482).
        craters: fresh ones gather rocks on their rims.
        on_rims: share of the rocks that do.
    """
    small, large = sizes_m
    most, least = per_m2 * small**-slope, per_m2 * large**-slope
    count = int(rng.poisson((most - least) * side_m**2))
    diameter = ((most - rng.random(count) * (most - least)) / per_m2) ** (-1 / slope)
    half = side_m / 2
    x, y = rng.uniform(-half, half, (2, count))
    fresh = np.flatnonzero((craters.wear < 0.06) & (craters.diameter_m > 1.5))
    if len(fresh):
        weight = craters.diameter_m[fresh] ** 2
        (near,) = np.nonzero(rng.random(count) < on_rims)
        at = rng.choice(fresh, len(near), p=weight / weight.sum())
        radius = craters.diameter_m[at] / 2
        distance = radius * (0.85 + rng.exponential(_RIM_FALLOFF, len(near)))
        angle = rng.uniform(0.0, 2 * np.pi, len(near))
        x[near] = craters.x_m[at] + distance * np.cos(angle)
        y[near] = craters.y_m[at] + distance * np.sin(angle)
    wide, flat = rng.uniform(0.62, 1.0, count), rng.uniform(0.42, 0.85, count)
    axes = diameter[:, None] / 2 * np.stack([np.ones(count), wide, flat], axis=1)
    buried = rng.uniform(0.15, 0.60, count)
    kept = (np.abs(x) < half) & (np.abs(y) < half)
    return Rocks(
        x_m=x,
        y_m=y,
        diameter_m=diameter,
        axes_m=axes,
        yaw=rng.uniform(0.0, 2 * np.pi, count),
        lift_m=axes[:, 2] * (1 - 2 * buried),
        shape=rng.integers(0, SHAPES, count),
        albedo=np.clip(rng.normal(1.12, 0.13, count), 0.75, 1.6),
    ).pick(kept)


@lru_cache(maxsize=1)
def shapes() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the polyhedra inside the unit sphere, as half-spaces n . p <= d.

    Returns:
        (SHAPES, FACES, 3) outward unit normals and (SHAPES, FACES) distances. Normals are spread by
        a golden spiral and shaken, so that every polyhedron is closed.
    """
    rng = np.random.default_rng(19)
    k = np.arange(FACES) + 0.5
    z, turn = 1 - 2 * k / FACES, np.pi * (1 + np.sqrt(5.0)) * k
    flat = np.sqrt(1 - z * z)
    even = np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=1)
    normals = even + rng.normal(0.0, 0.16, (SHAPES, FACES, 3))
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    return normals.astype(np.float32), rng.uniform(0.74, 0.92, (SHAPES, FACES)).astype(np.float32)
