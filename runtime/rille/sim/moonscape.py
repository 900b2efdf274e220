"""A patch of Moon as it is before light falls on it: relief, albedo, craters."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.sim.craters import (
    Craters,
    SizeLaw,
    fresh_depth_ratio,
    joined,
    sample_craters,
    stamp_craters,
    wear_of_share,
)
from rille.sim.landforms import add_lines, weather_large
from rille.sim.relief import fractal

if TYPE_CHECKING:
    from numpy.typing import NDArray

LABELLED_M = 1000.0
"""Craters from this diameter on are in catalogues made on 100 m/px mosaics."""
SLOPE = 1.88
"""Exponent of the cumulative law of sizes before large craters wipe small ones out: 1.7 to 1.9,
as in catalogues from orbit, is left."""
LARGEST_M = 60_000.0
_LARGE_M = 4000.0
_DOUBLET_MOST_M = 2000.0
_SLIDING_M = 15_000.0
_LARGE_LASTS = 0.22
_WARPED_CELLS = 9.0
_WEAR_AT = (0.0, 0.1, 0.3, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Ground:
    """What sort of Moon: figures that make highland or mare of it.

    Attributes:
        relief_m: standard deviation of the longest waves of the relief.
        hurst: Hurst exponent of the relief.
        rough_m: standard deviation of massifs' longest waves.
        albedo: standard deviation of the longest waves of the albedo's logarithm.
        albedo_hurst: Hurst exponent of the albedo.
        per_km2: craters of 1 km and more a square kilometre.
        wear: wear of craters of 1 km and more at the shares 0, .1, .3, .5, .75 and 1 of them.
        small_wear: the same for smaller craters.
        small_slope: exponent of the law of sizes below 1 km.
        small: factor on the number of those.
        lines: how many ridges, scarps and rilles on 100 km x 100 km.
        flood: share of the ground under lava; it stands out of a mare as massifs.
        lava_albedo: albedo of lava over that of highland.
        halo: share of craters with bright ejecta.
    """

    relief_m: float
    hurst: float
    rough_m: float
    albedo: float
    albedo_hurst: float
    per_km2: float
    wear: tuple[float, ...]
    small_wear: tuple[float, ...]
    small_slope: float
    small: float
    lines: tuple[tuple[str, float], ...]
    flood: float = 0.0
    lava_albedo: float = 1.0
    halo: float = 0.02


GROUNDS = {
    "highland": Ground(
        relief_m=2700.0,
        hurst=1.25,
        rough_m=1080.0,
        albedo=0.23,
        albedo_hurst=0.48,
        per_km2=0.04,
        wear=(0.0, 0.130, 0.160, 0.176, 0.195, 0.245),
        small_wear=(0.0, 0.05, 0.15, 0.3, 0.6, 1.3),
        small_slope=2.35,
        small=1.45,
        lines=(("scarp", 5.0), ("rille", 3.0), ("ridge", 4.0)),
    ),
    "mare": Ground(
        relief_m=800.0,
        hurst=1.25,
        rough_m=960.0,
        albedo=0.08,
        albedo_hurst=0.25,
        per_km2=0.026,
        wear=(0.0, 0.146, 0.205, 0.242, 0.308, 0.52),
        small_wear=(0.0, 0.05, 0.15, 0.3, 0.6, 1.3),
        small_slope=2.0,
        small=2.0,
        lines=(("ridge", 8.0), ("rille", 3.0), ("scarp", 3.0)),
        flood=0.68,
        lava_albedo=0.87,
    ),
}


@dataclass(frozen=True, slots=True)
class Moonscape:
    """Relief, albedo and craters of a square patch.

    Attributes:
        height: (n, n) float32, metres.
        albedo: (n, n) float32, about 1 on highland.
        craters: all of them, oldest first.
        haloed: number of craters with bright ejecta.
    """

    height: NDArray[np.float32]
    albedo: NDArray[np.float32]
    craters: Craters
    haloed: int


def make_moonscape(
    rng: np.random.Generator,
    ground: Ground,
    cells: int,
    cell_m: float,
    *,
    density: float = 1.0,
    large: float = 1.0,
    smallest_m: float = 170.0,
) -> Moonscape:
    """Make a patch of Moon.

    Args:
        rng: where chance comes from.
        ground: what sort of Moon.
        cells: side of the maps, 8 times a power of two.
        cell_m: side of a cell in metres.
        density: factor on the number of craters.
        large: factor on the number of craters of 4 km and more.
        smallest_m: smallest crater.
    """
    side_m = cells * cell_m
    height = fractal(rng, cells, ground.relief_m, ground.hurst)
    _add_massifs(height, rng, ground.rough_m)
    albedo = np.exp(fractal(rng, cells, ground.albedo, ground.albedo_hurst))
    islands = _flood(height, albedo, rng, ground, side_m, cell_m) if ground.flood else None
    # Maps of 102 km at 50 m have as many of them as are asked for on 100 km x 100 km.
    for kind, per_square in ground.lines:
        count = int(rng.poisson(per_square * (side_m / 100_000.0) ** 2))
        add_lines(height, rng, cell_m, kind, count)
    craters = population(rng, ground, side_m, density=density, large=large, smallest_m=smallest_m)
    big = craters.diameter_m / 2 > _WARPED_CELLS * cell_m
    for k in np.flatnonzero(big):
        _emplace(height, craters.pick(np.array([k])), cell_m)
    weather_large(height, craters.pick(big), rng, cell_m)
    stamp_craters(height, craters.pick(~big), cell_m)
    haloed = _halos(albedo, craters, rng, ground.halo, cell_m)
    if islands is not None:
        craters = joined(islands, craters)
    return Moonscape(height, albedo, craters, haloed)


def population(
    rng: np.random.Generator,
    ground: Ground,
    side_m: float,
    *,
    density: float = 1.0,
    large: float = 1.0,
    smallest_m: float = 170.0,
) -> Craters:
    """Draw the craters of a patch: singles, doublets, clusters.

    Args:
        rng: where chance comes from.
        ground: what sort of Moon.
        side_m: side of the patch in metres.
        density: factor on their number.
        large: factor on the number of craters of 4 km and more.
        smallest_m: smallest crater.
    """
    number = ground.per_km2 * density
    seen = SizeLaw(number * LABELLED_M**SLOPE, SLOPE)
    tiny = SizeLaw(number * LABELLED_M**ground.small_slope, ground.small_slope)
    parts = []
    for law, sizes, factor, wear in (
        (tiny, (min(smallest_m, LABELLED_M), LABELLED_M), ground.small, ground.small_wear),
        (seen, (max(smallest_m, LABELLED_M), LARGEST_M), 1.0, ground.wear),
        (seen, (_LARGE_M, LARGEST_M), large - 1.0, ground.wear),
    ):
        some = sample_craters(rng, law, side_m, sizes, factor, centre_m=side_m / 2)
        worn = np.interp(rng.random(len(some)), _WEAR_AT, wear)
        # The larger a crater, the slower its relief goes.
        worn *= np.maximum(some.diameter_m / 1200.0, 1.0) ** -_LARGE_LASTS
        ratio = rng.uniform(0.94, 1.0, len(some))
        parts.append(replace(_clustered(some, rng), wear=worn, ratio=ratio))
    whole = joined(*parts)
    whole = joined(whole, _partners(whole, rng))
    return whole.pick(~_erased(whole))


def _erased(craters: Craters) -> NDArray[np.bool_]:
    """Return which craters a larger one has wiped out: it came later, or its walls slid."""
    gone = np.zeros(len(craters), bool)
    # Relief of a crater goes in a time that grows with its diameter.
    age = craters.wear * craters.diameter_m
    column = np.argsort(craters.x_m)
    sorted_m = craters.x_m[column]
    for k in np.flatnonzero(craters.diameter_m > _LARGE_M / 2):
        x_m, radius = craters.x_m[k], craters.diameter_m[k] / 2
        near = column[slice(*np.searchsorted(sorted_m, (x_m - 1.2 * radius, x_m + 1.2 * radius)))]
        r = np.hypot(craters.x_m[near] - x_m, craters.y_m[near] - craters.y_m[k]) / radius
        high, low = (1.15, 0.4) if radius < _SLIDING_M else (1.05, 0.75)
        wall = (r > low) & (r < high)
        smaller = craters.diameter_m[near] < 0.6 * craters.diameter_m[k]
        gone[near] |= smaller & (((r < 1) & (age[near] > age[k])) | wall)
    return gone


def _clustered(craters: Craters, rng: np.random.Generator) -> Craters:
    """Move a ninth of the craters into groups, as secondaries of a far impact lie."""
    groups = max(1, len(craters) // 90)
    moved = np.flatnonzero(rng.random(len(craters)) < 0.11)
    if not len(moved):
        return craters
    heads = rng.integers(0, len(craters), groups)
    group = rng.integers(0, groups, len(moved))
    turn = rng.uniform(0, np.pi, groups)[group]
    along, across = rng.normal(0, 4500, len(moved)), rng.normal(0, 2000, len(moved))
    x_m, y_m = craters.x_m.copy(), craters.y_m.copy()
    x_m[moved] = x_m[heads][group] + along * np.cos(turn) - across * np.sin(turn)
    y_m[moved] = y_m[heads][group] + along * np.sin(turn) + across * np.cos(turn)
    return replace(craters, x_m=x_m, y_m=y_m)


def _partners(craters: Craters, rng: np.random.Generator) -> Craters:
    """Return second craters of doublets: as worn, nearly as large, overlapping or touching."""
    small = craters.diameter_m < _DOUBLET_MOST_M
    chosen = craters.pick(small & (rng.random(len(craters)) < 0.025))
    count = len(chosen)
    size = chosen.diameter_m * rng.uniform(0.7, 1.0, count)
    size = np.maximum(size, np.where(chosen.diameter_m >= LABELLED_M, LABELLED_M, 0.0))
    gap = (chosen.diameter_m + size) / 2 * rng.uniform(0.65, 1.05, count)
    turn = rng.uniform(0, 2 * np.pi, count)
    return replace(
        chosen,
        x_m=chosen.x_m + gap * np.cos(turn),
        y_m=chosen.y_m + gap * np.sin(turn),
        diameter_m=size,
    )


def _add_massifs(height: NDArray[np.float32], rng: np.random.Generator, rough_m: float) -> None:
    """Add rough hills with crests where chance wants them."""
    cells = len(height)
    waves = fractal(rng, cells, 1.0, 1.15, points=16)
    crests = 1 - np.abs(waves)
    where = fractal(rng, cells // 8, 1.0, 1.0)
    where = np.clip(where / where.std() + 0.3, 0, 1.5)
    share = cv2.resize(where, (cells, cells), interpolation=cv2.INTER_LINEAR)
    height += crests * share * np.float32(rough_m)


def _flood(
    height: NDArray[np.float32],
    albedo: NDArray[np.float32],
    rng: np.random.Generator,
    ground: Ground,
    side_m: float,
    cell_m: float,
) -> Craters:
    """Let lava stand in the low ground: a plain from which massifs and old rims rise.

    Returns:
        The old craters whose rims still stand out, as worn as their depth above the lava says.
    """
    old = population(rng, ground, side_m, density=0.25, smallest_m=3000.0)
    stamp_craters(height, replace(old, wear=old.wear * 0.3), cell_m)
    level = float(np.quantile(height[::8, ::8], ground.flood))
    islands = _standing_out(old, height, level, cell_m)
    above = height - np.float32(level)
    plain = fractal(rng, len(height), 120.0, 1.0, points=32)
    plain += fractal(rng, len(height), 60.0, 1.0, points=8)
    lava = 1 / (1 + np.exp(np.clip((above - 60) / 30, -30, 30)))
    # Lava wets the foot of what it floods: the slope begins without a step.
    rise = np.maximum(above, 0)
    rise *= rise / (rise + 60)
    height[:] = level + rise + plain * lava
    stain = cv2.GaussianBlur(np.asarray(lava, np.float32), (0, 0), 600.0 / cell_m)
    albedo *= 1 - (1 - np.float32(ground.lava_albedo)) * stain
    return islands


def _standing_out(
    old: Craters, height: NDArray[np.float32], level: float, cell_m: float
) -> Craters:
    """Return the craters most of whose rim is higher than a level, with the wear they seem of."""
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)[:, None]
    last = len(height) - 1
    column = (old.x_m + np.cos(turn) * old.diameter_m / 2) / cell_m
    row = (old.y_m + np.sin(turn) * old.diameter_m / 2) / cell_m
    inside = ((column >= 0) & (column <= last) & (row >= 0) & (row <= last)).all(axis=0)
    at = np.clip(np.rint([row, column]), 0, last).astype(np.intp)
    rim = height[at[0], at[1]]
    kept = np.flatnonzero(inside & ((rim > level + 40.0).mean(axis=0) > 0.7))
    middle = np.rint([old.y_m[kept] / cell_m, old.x_m[kept] / cell_m]).astype(np.intp)
    floor = np.maximum(height[middle[0], middle[1]], level)
    share = (rim[:, kept].mean(axis=0) - floor) / old.diameter_m[kept]
    share /= fresh_depth_ratio(old.diameter_m[kept])
    return replace(old.pick(kept), wear=wear_of_share(share))


def _emplace(height: NDArray[np.float32], crater: Craters, cell_m: float) -> None:
    """Add one large crater: what was there before it is wiped out inside, as far as it is young."""
    x, y = crater.x_m[0] / cell_m, crater.y_m[0] / cell_m
    radius = crater.diameter_m[0] / 2 / cell_m
    reach = 1.3 * radius
    left, right = max(0, int(x - reach)), min(height.shape[1], int(x + reach) + 2)
    top, bottom = max(0, int(y - reach)), min(len(height), int(y + reach) + 2)
    if right - left > 4 and bottom - top > 4:
        part = height[top:bottom, left:right]
        dx = (np.arange(left, right, dtype=np.float32) - np.float32(x))[None, :] / radius
        dy = (np.arange(top, bottom, dtype=np.float32) - np.float32(y))[:, None] / radius
        r = np.sqrt(dx * dx + dy * dy)
        wipe = np.clip((1.25 - r) * 3, 0, 1) * math.exp(-crater.wear[0] / 0.1) * 0.9
        small = cv2.resize(part, (8, 8), interpolation=cv2.INTER_AREA)
        smooth = cv2.resize(small, part.shape[::-1], interpolation=cv2.INTER_CUBIC)
        part += (smooth - part) * wipe.astype(np.float32)
    stamp_craters(height, crater, cell_m)


def _halos(
    albedo: NDArray[np.float32],
    craters: Craters,
    rng: np.random.Generator,
    share: float,
    cell_m: float,
) -> int:
    """Brighten the surroundings of some young craters; return of how many."""
    fresh = np.flatnonzero((craters.diameter_m > 500.0) & (craters.diameter_m < 6000.0))
    among = int(share * (craters.diameter_m >= LABELLED_M).sum())
    chosen = fresh[np.argsort(craters.wear[fresh])[: int(rng.integers(0, among + 1))]]
    for k in chosen:
        x, y = craters.x_m[k] / cell_m, craters.y_m[k] / cell_m
        radius = craters.diameter_m[k] / 2 / cell_m
        reach = 4 * radius
        left, right = max(0, int(x - reach)), min(albedo.shape[1], int(x + reach) + 2)
        top, bottom = max(0, int(y - reach)), min(len(albedo), int(y + reach) + 2)
        if left >= right or top >= bottom:
            continue
        dx = (np.arange(left, right, dtype=np.float32) - np.float32(x))[None, :] / radius
        dy = (np.arange(top, bottom, dtype=np.float32) - np.float32(y))[:, None] / radius
        r, turn = np.sqrt(dx * dx + dy * dy), np.arctan2(dy, dx)
        p, q = rng.uniform(0, 2 * np.pi, 2)
        rays = 1 + 0.3 * np.cos(5 * turn + p) + 0.3 * np.cos(9 * turn + q)
        bright = np.exp(-np.maximum(r - 0.8, 0) / 0.7) * np.where(r > 1, rays, 1)
        fade = np.clip(4 - r, 0, 1)
        albedo[top:bottom, left:right] *= 1 + np.float32(rng.uniform(0.2, 0.7)) * bright * fade
    return len(chosen)
