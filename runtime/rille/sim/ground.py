"""The ground around a rover: nested maps of relief, light and brightness, craters and rocks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.sim import craters as crater_law
from rille.sim import rocks as rock_law
from rille.sim import solids as bodies
from rille.sim.craters import SURFACE, Craters, sample_craters, stamp_craters
from rille.sim.detail import gather
from rille.sim.drive import Loop
from rille.sim.hardware import imprint_tracks, lander
from rille.sim.light import SUN_RADIUS_DEG, shadow_height, slopes, sun_share
from rille.sim.outlines import Outlines
from rille.sim.relief import deviation, fractal, zoom
from rille.sim.rocks import Rocks, sample_rocks
from rille.sim.solids import Solids

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_DEPTH_RATIO = 0.06
"""Shallower craters cannot be seen and are not labelled."""
_ROCK_SLOPE = 2.482
_LARGEST_ROCK_M = 3.0
_CROSSED_M = 4.0


@dataclass(frozen=True, slots=True)
class Terrain:
    """A kind of ground.

    Attributes:
        deviation: root-mean-square height difference of points a metre apart, metres.
        hurst: Hurst exponent of the relief.
        craters: factor on the number of craters.
        rocks: rocks of more than a metre on a square metre, by the law's extrapolation.
        on_rims: share of the rocks gathered on rims of fresh craters.
        massifs: factor on the relief of more than 64 m, beyond the fractal's own.
    """

    deviation: float
    hurst: float
    craters: float
    rocks: float
    on_rims: float
    massifs: float = 1.0


TERRAINS: Mapping[str, Mapping[str, Terrain]] = {
    "moon": {
        "mare": Terrain(0.018, 0.85, 1.0, 3e-4, 0.45),
        "crater-field": Terrain(0.022, 0.85, 3.0, 5e-4, 0.45),
        "boulder-field": Terrain(0.030, 0.85, 1.0, 4e-3, 0.45),
        "highland": Terrain(0.055, 0.90, 1.6, 1.2e-3, 0.45, massifs=3.0),
    },
    "mars": {
        "mare": Terrain(0.018, 0.80, 0.05, 8e-4, 0.10),
        "crater-field": Terrain(0.024, 0.80, 0.45, 1.2e-3, 0.10),
        "boulder-field": Terrain(0.030, 0.80, 0.15, 5e-3, 0.10),
        "highland": Terrain(0.050, 0.85, 0.15, 2.2e-3, 0.10, massifs=2.0),
    },
}


@dataclass(frozen=True, slots=True)
class Level:
    """A square map around the origin.

    Attributes:
        cell_m: side of a cell.
        height: (n, n) float32, metres, without rocks.
        low, high: shadow heights of both edges of the Sun's disc, see `rille.sim.light`.
        looks: maps, each half as fine as the one before, (m, m, 4) float32: slope along x, slope
            along y, share of the Sun seen, albedo.
    """

    cell_m: float
    height: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    looks: tuple[NDArray[np.float32], ...]

    @property
    def corner_m(self) -> float:
        """Both coordinates of the first cell's centre."""
        return -(len(self.height) - 1) / 2 * self.cell_m

    @property
    def half_m(self) -> float:
        """How far the map reaches from the origin along an axis."""
        return -self.corner_m


@dataclass(frozen=True, slots=True)
class Ground:
    """A lit piece of a world, for views from close by.

    Attributes:
        world: "moon" or "mars".
        terrain: kind of ground.
        levels: maps, the finest and smallest first.
        craters: every crater, oldest first.
        outlines: level by level, of the labelled craters `labelled`.
        labelled: the craters that can be seen.
        rocks: every rock.
        solids: the rocks as bodies, in the same order, then what people brought.
        tracks: (n, n) uint8 on the finest level, above 127 where wheels have rolled.
        loop: a way that is free of rocks.
        sun_azimuth_deg, sun_elevation_deg: where the light comes from.
    """

    world: str
    terrain: str
    levels: tuple[Level, ...]
    craters: Craters
    labelled: Craters
    outlines: tuple[Outlines, ...]
    rocks: Rocks
    solids: Solids
    tracks: NDArray[np.uint8]
    loop: Loop
    sun_azimuth_deg: float
    sun_elevation_deg: float

    @property
    def pyramid(self) -> tuple[tuple[float, float, NDArray[np.float32]], ...]:
        """All maps, finest first: cell in metres, corner in metres, map."""
        return tuple(
            (level.cell_m * 2**k, level.corner_m + level.cell_m * (2**k - 1) / 2, look)
            for level in self.levels
            for k, look in enumerate(level.looks)
        )

    def height_at(self, x_m: float, y_m: float) -> float:
        """Return the height of the ground at a point, metres."""
        return float(self.heights_at(np.array([x_m]), np.array([y_m]))[0])

    def heights_at(self, x_m: NDArray[np.float64], y_m: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the height of the ground at points, each from the finest level that holds it."""
        return _heights([level.height for level in self.levels], x_m, y_m)


# Cells along a side, their size in metres, and the crater sizes that each level adds.
_GRIDS = ((2048, 0.05, (0.3, 4.0)), (1024, 1.0, (4.0, 64.0)), (512, 16.0, (64.0, 800.0)))
_ROCK_SIZES = ((0.06, 0.5), (0.5, _LARGEST_ROCK_M))
_FAR_ROCKS_M = 480.0


def build_ground(
    seed: int,
    *,
    world: str = "moon",
    terrain: str = "crater-field",
    sun_azimuth_deg: float = 200.0,
    sun_elevation_deg: float = 14.0,
    with_tracks: bool = True,
    with_lander: bool = True,
) -> Ground:
    """Build the ground around a rover: 102 m at 5 cm, 1 km at 1 m, 8 km at 16 m.

    Args:
        seed: the same seed gives the same ground.
        world, terrain: keys of `TERRAINS`.
        sun_azimuth_deg: where the light comes from, from +x towards +y.
        sun_elevation_deg: above the horizon, 1.5 to 80.
        with_tracks: whether wheels have rolled there before.
        with_lander: whether a lander stands there.
    """
    kind = TERRAINS[world][terrain]
    rng = np.random.default_rng([seed, 11])
    relief = _relief(rng, kind)
    populations = [
        sample_craters(rng, SURFACE, cells * cell, sizes, kind.craters)
        for cells, cell, sizes in _GRIDS
    ]
    loop = Loop(seed)
    populations = [_off_the_way(part, loop) for part in populations]
    # The finest level holds what the coarser ones brought, and so on.
    nested = [crater_law.joined(*populations[k:]) for k in range(len(_GRIDS))]
    for height, members, (_, cell, _) in zip(relief, nested, _GRIDS, strict=True):
        stamp_craters(height, members, cell, -(len(height) - 1) / 2 * cell)
    tracks = np.zeros(relief[0].shape, np.uint8)
    if with_tracks:
        tracks = imprint_tracks(relief[0], Loop(seed, turn=1.3), _GRIDS[0][1])
    _fade_border(relief)
    rocks = _rocks(rng, kind, nested[0], loop)
    brought = [_hardware(rng, loop, relief[0])] if with_lander else []
    stones = bodies.from_rocks(rocks, _heights(relief, rocks.x_m, rocks.y_m))
    solids = bodies.joined([stones, *brought])
    labelled = nested[0].pick(nested[0].depth_ratio >= LEAST_DEPTH_RATIO)
    return Ground(
        world=world,
        terrain=terrain,
        levels=_light(rng, relief, solids, tracks, world, sun_azimuth_deg, sun_elevation_deg),
        craters=nested[0],
        labelled=labelled,
        outlines=tuple(
            Outlines(labelled, cells, cell, -(cells - 1) / 2 * cell)
            for cells, cell, _ in _GRIDS[:2]
        ),
        rocks=rocks,
        solids=solids,
        tracks=tracks,
        loop=loop,
        sun_azimuth_deg=sun_azimuth_deg,
        sun_elevation_deg=sun_elevation_deg,
    )


def _off_the_way(craters: Craters, loop: Loop) -> Craters:
    """Leave out large craters that the rover would have to drive into."""
    large = np.flatnonzero(craters.diameter_m > _CROSSED_M)
    away = loop.distance_to(craters.x_m[large], craters.y_m[large])
    kept = np.ones(len(craters), bool)
    kept[large] = away > 1.1 * craters.reach_m[large] + 1.0
    return craters.pick(kept)


def _rocks(rng: np.random.Generator, kind: Terrain, craters: Craters, loop: Loop) -> Rocks:
    """Return the rocks around and farther off; the rover's way is free of large ones."""
    fields = [
        sample_rocks(
            rng,
            side,
            sizes,
            per_m2=kind.rocks,
            slope=_ROCK_SLOPE,
            craters=craters,
            on_rims=kind.on_rims,
        )
        for side, sizes in zip((101.0, _FAR_ROCKS_M), _ROCK_SIZES, strict=True)
    ]
    rocks = rock_law.joined(*fields)
    large = np.flatnonzero(rocks.diameter_m > 0.15)
    away = loop.distance_to(rocks.x_m[large], rocks.y_m[large])
    kept = np.ones(len(rocks), bool)
    kept[large] = away > 0.6 + rocks.diameter_m[large] / 2
    return rocks.pick(kept)


def _hardware(rng: np.random.Generator, loop: Loop, height: NDArray[np.float32]) -> Solids:
    """Return a lander a few metres inside the loop."""
    x, y, _ = loop.at(float(rng.uniform(0.05, 0.15)) * loop.length_m)
    x, y = 0.62 * x, 0.62 * y
    on = _heights([height], np.array([x]), np.array([y]))
    return lander(x, y, float(on[0]), float(rng.uniform(0, 2 * math.pi)))


def _heights(
    relief: list[NDArray[np.float32]], x_m: NDArray[np.float64], y_m: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return the height of the ground at points, each from the finest level that holds it."""
    height = np.zeros(len(x_m), np.float32)
    for values, (cells, cell, _) in reversed(list(zip(relief, _GRIDS, strict=False))):
        half = (cells - 1) / 2 * cell
        inside = (np.abs(x_m) < half) & (np.abs(y_m) < half)
        u, v = (((p[inside] + half) / cell).astype(np.float32) for p in (x_m, y_m))
        height[inside] = gather(values, u, v)[:, 0]
    return height


def _relief(rng: np.random.Generator, kind: Terrain) -> list[NDArray[np.float32]]:
    """Return the relief without craters, finest level first: one fractal over all three."""
    far = fractal(rng, 512, (512 * 16.0 / 2) ** kind.hurst, kind.hurst, points=4)
    far *= np.float32(kind.massifs)
    middle = zoom(far, 16, 1024)
    middle += fractal(rng, 1024, 32.0**kind.hurst, kind.hurst, points=64)
    near = zoom(middle, 20, 2048)
    near += fractal(rng, 2048, 3.2**kind.hurst, kind.hurst, points=64)
    scale = np.float32(kind.deviation / deviation(near, 20))
    return [near * scale, middle * scale, far * scale]


def _fade_border(relief: list[NDArray[np.float32]]) -> None:
    """Let each level run into the next coarser one over its outermost cells, in place."""
    for k, factor in ((1, 16), (0, 20)):
        fine, coarse = relief[k], relief[k + 1]
        cells = len(fine)
        below = zoom(coarse, factor, cells)
        edge = np.minimum(np.arange(cells), np.arange(cells)[::-1]).astype(np.float32)
        share = np.clip(np.minimum(edge[:, None], edge[None, :]) / (0.06 * cells), 0, 1)
        fine += (below - fine) * (1 - share * share * (3 - 2 * share))


def _light(
    rng: np.random.Generator,
    relief: list[NDArray[np.float32]],
    solids: Solids,
    tracks: NDArray[np.uint8],
    world: str,
    azimuth_deg: float,
    elevation_deg: float,
) -> tuple[Level, ...]:
    """Cast shadows from the coarsest level down to the finest, and pack the maps."""
    radius = SUN_RADIUS_DEG[world]
    levels: list[Level] = []
    factors = {2: 1, 1: 16, 0: 20}
    for k in (2, 1, 0):
        cell = _GRIDS[k][1]
        height = relief[k]
        solid = height if k == 2 else _with_bodies(height, cell, solids)
        edges = []
        for elevation, name in ((elevation_deg + radius, "low"), (elevation_deg - radius, "high")):
            own = shadow_height(solid, cell, azimuth_deg, elevation)
            if levels:
                above = zoom(getattr(levels[0], name), factors[k], len(height))
                own = np.maximum(own, above)
            edges.append(own)
        low, high = edges
        # A rock's own cell is not in its shadow height, but the ground under it lies in shadow.
        light = sun_share(height, low, high)
        albedo = 1 + fractal(rng, len(height), 0.06, 0.35, points=len(height) // 128)
        if k == 0:
            # Pressed ground is smoother and darker.
            albedo *= 1 - tracks * np.float32(0.14 / 255)
        levels.insert(0, Level(cell, height, low, high, _looks(height, cell, light, albedo)))
    return tuple(levels)


def _with_bodies(height: NDArray[np.float32], cell_m: float, solids: Solids) -> NDArray[np.float32]:
    """Return the height of whatever casts a shadow: ground, rocks and hardware."""
    solid = height.copy()
    large = solids.pick(solids.reach_m > cell_m)
    cell, top = bodies.tops(large, len(height), cell_m)
    np.maximum.at(solid.reshape(-1), cell, top)
    return solid


def _looks(
    height: NDArray[np.float32],
    cell_m: float,
    light: NDArray[np.float32],
    albedo: NDArray[np.float32],
) -> tuple[NDArray[np.float32], ...]:
    """Pack what shading needs, and halve it down to 128 cells."""
    looks = [cv2.merge([*slopes(height, cell_m), light, albedo])]
    while looks[-1].shape[0] > 128:
        half = cv2.resize(looks[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        looks.append(half)
    return tuple(np.asarray(look, np.float32) for look in looks)
