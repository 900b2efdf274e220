"""A population of lunar craters: how many, how deep, how worn, of what outline."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

REACH = 2.6
"""A crater changes the ground out to this many radii."""
STEADY = 0.38
"""Wear of the oldest craters that a saturated surface still shows."""
_WORN_MOST = 4 * STEADY
_WEAR_STEPS = 93
_FLOOR_BLEND = 0.03
_TAIL_FROM = 1.25
_FLAT_FLOOR_M = 4_000.0
_LARGE_WEAR = 0.28
_FILLED_FROM_M = (400.0, 1000.0)
_STAMP_CELLS = (4, 6, 9, 13, 18)
_STAMPS = 512
_RADIAL_STEPS = 161
_LOBE_SIGMA = (0.025, 0.018)


@dataclass(frozen=True, slots=True)
class SizeLaw:
    """How many craters are larger than D: `per_km2 * D ** -slope` a square kilometre, D in metres.

    Attributes:
        per_km2: the number at 1 m, which the law need not reach.
        slope: exponent up to `bend_m`.
        bend_m: where the law bends.
        steep: exponent beyond it; the law stays continuous.
    """

    per_km2: float
    slope: float
    bend_m: float = np.inf
    steep: float = 1.0

    def larger(self, diameter_m: float) -> float:
        """Return the number of craters above a diameter in a square kilometre."""
        number = self.per_km2 * min(diameter_m, self.bend_m) ** -self.slope
        return float(number * max(diameter_m / self.bend_m, 1.0) ** -self.steep)

    def diameter(self, number: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the diameter in metres above which there are so many: the inverse of `larger`."""
        at_bend = self.larger(self.bend_m) if np.isfinite(self.bend_m) else 0.0
        below = (self.per_km2 / np.maximum(number, at_bend)) ** (1 / self.slope)
        return below * np.maximum(at_bend / number, 1.0) ** (1 / self.steep)


SURFACE = SizeLaw(per_km2=29174.0, slope=1.92, bend_m=80.0, steep=2.389)
"""Around a rover, 0.1 to 800 m: VIPER environment specification, made continuous at 80 m."""


@dataclass(frozen=True, slots=True)
class Craters:
    """Craters as columns, oldest first.

    The outline lies at R(t) = R (1 + a3 cos 3(t - p3) + a5 cos 5(t - p5)) from the centre, R that
    of an ellipse and t the angle from its major axis.

    Attributes:
        x_m, y_m: centres in metres, x right, y down.
        diameter_m: rim-to-rim diameter (geometric mean of both axes).
        ratio: minor over major axis, 0.9 to 1.
        angle_deg: direction of the major axis from +x towards +y.
        wear: diffusion age kappa t / R^2, 0 (fresh) to 0.38 (steady state), for ghosts to 1.52.
        lobes: (n, 4) a3, p3, a5, p5; phases in radians.
    """

    x_m: NDArray[np.float64]
    y_m: NDArray[np.float64]
    diameter_m: NDArray[np.float64]
    ratio: NDArray[np.float64]
    angle_deg: NDArray[np.float64]
    wear: NDArray[np.float64]
    lobes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.x_m)

    @property
    def depth_ratio(self) -> NDArray[np.float64]:
        """Present depth over diameter: of a fresh crater of that size, times what wear left."""
        return fresh_depth_ratio(self.diameter_m) * _depth_share(self.wear)

    @property
    def reach_m(self) -> NDArray[np.float64]:
        """Largest distance of the outline from the centre."""
        lobes = np.abs(self.lobes[:, 0]) + np.abs(self.lobes[:, 2])
        return np.asarray(self.diameter_m / 2 / np.sqrt(self.ratio) * (1 + lobes), np.float64)

    def pick(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> Craters:
        """Return some of them, in the order asked for."""
        return Craters(*(getattr(self, f.name)[which] for f in fields(self)))

    def radii(
        self, k: NDArray[np.integer[Any]], x_m: NDArray[np.float64], y_m: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return distances from the centres of craters `k` in units of their outlines' radii.

        Args:
            k, x_m, y_m: which crater, and a point for each; any shapes that broadcast.
        """
        turn = np.radians(self.angle_deg[k])
        major = self.diameter_m[k] / 2 / np.sqrt(self.ratio[k])
        dx, dy = x_m - self.x_m[k], y_m - self.y_m[k]
        along = (dx * np.cos(turn) + dy * np.sin(turn)) / major
        across = (dy * np.cos(turn) - dx * np.sin(turn)) / major / self.ratio[k]
        edge = self.edge(k, np.arctan2(across, along))
        return np.asarray(np.hypot(along, across) / edge, np.float64)

    def edge(self, k: NDArray[np.integer[Any]], angle: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the outlines' radii over those of their ellipses.

        Args:
            k, angle: which crater, and an angle from its major axis; shapes that broadcast.
        """
        a3, p3, a5, p5 = np.moveaxis(self.lobes[k], -1, 0)
        waves = a3 * np.cos(3 * (angle - p3)) + a5 * np.cos(5 * (angle - p5))
        return np.asarray(1 + waves, np.float64)


def joined(*parts: Craters) -> Craters:
    """Return several populations as one, oldest first."""
    whole = Craters(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Craters)))
    return whole.pick(np.argsort(-whole.wear, kind="stable"))


def fresh_depth_ratio(diameter_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return depth over diameter of fresh craters.

    From 400 m d = 0.196 D^1.010 for simple and 1.044 D^0.301 for complex craters, in km (Pike
    1977); small ones in loose ground are shallower (Stopar et al. 2017, by diameter class).
    """
    d_km = np.maximum(diameter_m, 400.0) / 1000.0
    large = np.minimum(0.196 * d_km**1.010, 1.044 * d_km**0.301) / d_km
    log_d = np.log10(np.maximum(diameter_m, 1e-3))
    classes_m = np.array([10.0, 20.0, 63.0, 141.0, 283.0, 400.0])
    small = np.interp(log_d, np.log10(classes_m), [0.10, 0.11, 0.13, 0.15, 0.17, 0.194])
    return np.where(diameter_m < 400.0, small, large)


def sample_craters(
    rng: np.random.Generator,
    law: SizeLaw,
    side_m: float,
    sizes_m: tuple[float, float],
    density: float,
    *,
    centre_m: float = 0.0,
    young: float = 0.04,
    lobed: bool = True,
) -> Craters:
    """Draw a population on a square, its sizes by a law.

    Args:
        rng: where chance comes from.
        law: the law of sizes.
        side_m: side of the square in metres; centres reach a little beyond it.
        sizes_m: smallest and largest diameter.
        density: factor on the law.
        centre_m: both coordinates of the square's middle.
        young: share of craters hardly worn.
        lobed: whether outlines depart from ellipses.

    Returns:
        The craters, oldest first: wear falls along the columns.
    """
    half_m = side_m * 0.53
    most, least = law.larger(sizes_m[0]), law.larger(sizes_m[1])
    count = int(rng.poisson(density * (most - least) * (2 * half_m / 1000.0) ** 2))
    diameter_m = law.diameter(most - rng.random(count) * (most - least))
    wear = rng.uniform(0.0, STEADY, count)
    wear[rng.random(count) < young] *= 0.1
    x_m, y_m = centre_m + rng.uniform(-half_m, half_m, (2, count))
    lobes = np.zeros((count, 4))
    if lobed:
        lobes[:, 0::2] = rng.standard_normal((count, 2)) * _LOBE_SIGMA
        lobes[:, 1::2] = rng.uniform(0.0, 2 * np.pi, (count, 2))
    order = np.argsort(-wear)
    return Craters(
        x_m=x_m,
        y_m=y_m,
        diameter_m=diameter_m[order],
        ratio=rng.uniform(0.9, 1.0, count),
        angle_deg=rng.uniform(0.0, 180.0, count),
        wear=wear[order],
        lobes=lobes,
    )


def fresh_profile(r: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the height of a fresh crater of depth 0.2 D, in units of D, at r radii.

    Polynomials of Fassett and Thomson (2014, eq. 4) inside, on the rim and outside to 1.25 radii,
    the bowl closed by a round floor at rim height less 0.2, then an r^-5 tail that ends at
    `REACH`: their polynomial ends at 1.5 radii with a bend that shows under a low Sun.
    """
    inside = -0.228809953 + 0.227533882 * r + 0.083116795 * r**2 - 0.039499407 * r**3
    outside = 0.188253307 - 0.187050452 * r + 0.01844746 * r**2 + 0.01505647 * r**3
    edge = _TAIL_FROM
    at_edge = 0.188253307 - 0.187050452 * edge + 0.01844746 * edge**2 + 0.01505647 * edge**3
    tail = at_edge * (edge / np.maximum(r, 1e-9)) ** 5
    tail = tail * np.clip((REACH - r) / (REACH - edge), 0.0, 1.0)
    height = np.where(r <= 0.98, inside, np.where(r < 1.02, 0.036822095, outside))
    height = np.where(r > edge, tail, height)
    return np.asarray(_floored(height, 0.036822095 - 0.2, _FLOOR_BLEND), np.float64)


def _floored(height: Any, floor: Any, blend: float) -> Any:
    """Return the greater of height and floor, rounded where they meet within about `blend`."""
    above = height - floor
    # Exactly the floor where the height lies twice the blend or more below it.
    lift = np.clip(above / (2 * blend), -1.0, 1.0)
    return floor + np.where(lift < 1.0, blend * (lift + 1.0) ** 2 / 2, above)


@lru_cache(maxsize=1)
def worn_profiles() -> NDArray[np.float32]:
    """Return (wear, radius) heights in units of D for wear 0..1.52 and radius 0..`REACH`.

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


def wear_of_share(share: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the wear that leaves such a share of the fresh depth: `worn_depth_shares` inverted."""
    wear = np.linspace(0.0, _WORN_MOST, _WEAR_STEPS)
    return np.asarray(np.interp(share, worn_depth_shares()[::-1], wear[::-1]), np.float64)


def stamp_craters(
    height: NDArray[np.float32], craters: Craters, cell_m: float, corner_m: float = 0.0
) -> None:
    """Add craters to a height map in place.

    Args:
        height: (n, n) float32, metres.
        craters: what to add.
        cell_m: side of a cell in metres.
        corner_m: both coordinates of the first cell's centre.
    """
    reach = REACH * craters.reach_m / cell_m
    for cells, floor in zip(_STAMP_CELLS, (0, *_STAMP_CELLS), strict=False):
        small = np.flatnonzero((reach < cells) & (reach >= floor))
        for start in range(0, len(small), _STAMPS):
            some = craters.pick(small[start : start + _STAMPS])
            _add_stamps(height, some, cell_m, corner_m, cells)
    columns, rows = (craters.x_m - corner_m) / cell_m, (craters.y_m - corner_m) / cell_m
    for k in np.flatnonzero(reach >= _STAMP_CELLS[-1]):
        left, right = max(0, int(columns[k] - reach[k])), int(columns[k] + reach[k]) + 2
        top, bottom = max(0, int(rows[k] - reach[k])), int(rows[k] + reach[k]) + 2
        part = height[top : max(bottom, 0), left : max(right, 0)]
        if part.size:
            x_m = np.arange(left, left + part.shape[1])[None, None, :] * cell_m + corner_m
            y_m = np.arange(top, top + part.shape[0])[None, :, None] * cell_m + corner_m
            part += _relief(craters.pick(np.array([k])), x_m, y_m)[0]


def _add_stamps(
    height: NDArray[np.float32], craters: Craters, cell_m: float, corner_m: float, cells: int
) -> None:
    """Add craters that change at most `cells` cells on each side of their middle, all at once."""
    around = np.arange(-cells, cells + 1)
    column = np.rint((craters.x_m - corner_m) / cell_m).astype(np.intp)[:, None, None] + around
    row = np.rint((craters.y_m - corner_m) / cell_m).astype(np.intp)[:, None, None]
    row = row + around[:, None]
    relief = _relief(craters, column * cell_m + corner_m, row * cell_m + corner_m)
    inside = (row >= 0) & (row < len(height)) & (column >= 0) & (column < height.shape[1])
    at = row * height.shape[1] + column
    np.add.at(height.reshape(-1), at[inside], relief[inside])


def _relief(
    craters: Craters, x_m: NDArray[np.floating[Any]], y_m: NDArray[np.floating[Any]]
) -> NDArray[np.float32]:
    """Return what n craters add to the ground at (n, 1, w) and (n, h, 1) positions, in metres.

    Small craters are blurred and, in loose ground, flatter as a whole; larger ones keep crisper
    rims than their depth says (`_rim_wear`), and the largest wide floors (`_filled`).
    """

    def each(column: NDArray[np.float64]) -> NDArray[np.float32]:
        return column.astype(np.float32)[:, None, None]

    turn = np.radians(craters.angle_deg)
    major = craters.diameter_m / 2 / np.sqrt(craters.ratio)
    dx = (x_m - craters.x_m[:, None, None]).astype(np.float32)
    dy = (y_m - craters.y_m[:, None, None]).astype(np.float32)
    c, s = np.cos(turn) / major, np.sin(turn) / major
    along = dx * each(c) + dy * each(s)
    across = dy * each(c / craters.ratio) - dx * each(s / craters.ratio)
    radius = np.sqrt(along * along + across * across)
    a3, p3, a5, p5 = craters.lobes.T
    if a3.any() or a5.any():
        angle = cv2.phase(along.reshape(len(along), -1), across.reshape(len(along), -1))
        angle = angle.reshape(along.shape)
        radius /= (
            1
            + each(a3) * np.cos(3 * (angle - each(p3)))
            + each(a5) * np.cos(5 * (angle - each(p5)))
        )
    blunt = _rim_wear(craters)
    profile = _profile(blunt, radius)
    scale = craters.diameter_m * fresh_depth_ratio(craters.diameter_m) / 0.2
    scale *= _depth_share(craters.wear) / _depth_share(blunt)
    for k in np.flatnonzero(craters.diameter_m > _FLAT_FLOOR_M):
        profile[k], scale[k] = (
            _filled(craters.pick(np.array([k])), radius[k]),
            craters.diameter_m[k],
        )
    return profile * each(scale)


def _rim_wear(craters: Craters) -> NDArray[np.float64]:
    """Return the wear of rims and walls.

    Diffusion rounds rims of some hundred metres as fast as it fills them; the larger a crater, the
    more of what it loses in depth is fill from outside, which leaves walls and rims crisp.
    """
    log_d = np.log(np.maximum(craters.diameter_m, 1e-3))
    share = np.interp(log_d, np.log(_FILLED_FROM_M), [1.0, _LARGE_WEAR])
    return craters.wear * np.asarray(share, np.float64)


def _depth_share(wear: NDArray[np.float64]) -> NDArray[np.float64]:
    steps = wear / _WORN_MOST * (_WEAR_STEPS - 1)
    return np.interp(steps, np.arange(_WEAR_STEPS), worn_depth_shares())


def _filled(crater: Craters, radius: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the profile of one large crater, units of D: worn less than it is filled up.

    Its walls keep the slope of small craters, so that a lesser depth means a wider floor.
    """
    worn = crater.wear * _LARGE_WEAR
    r = np.linspace(0.0, REACH, _RADIAL_STEPS, dtype=np.float32)
    rim = _profile(worn, r[None, None, :])[0, 0]
    shares = _depth_share(np.array([crater.wear[0], worn[0]]))
    low = np.float32((shares[0] / shares[1]) ** 0.6)
    depth = float(crater.depth_ratio[0])
    profile = _profile(worn, radius[None])[0] * low
    blend = min(_FLOOR_BLEND, depth / 2)
    inner = _floored(profile, np.float32(low * rim.max() - depth), blend)
    return np.asarray(np.where(radius < r[int(rim.argmax())], inner, profile), np.float32)


def _profile(wear: NDArray[np.float64], radius: NDArray[np.float32]) -> NDArray[np.float32]:
    """Look n worn profiles up at (n, h, w) distances in radii; units of D, fresh depth 0.2."""
    table = worn_profiles()
    steps = np.minimum(wear / _WORN_MOST, 1.0) * (_WEAR_STEPS - 1)
    step = np.minimum(steps.astype(np.int32), _WEAR_STEPS - 2)
    share = (steps - step).astype(np.float32)[:, None]
    own = table[step] * (1 - share) + table[step + 1] * share
    place = np.float32((_RADIAL_STEPS - 1) / REACH) * radius
    at = np.minimum(place.astype(np.int32), np.int32(_RADIAL_STEPS - 2))
    rest = np.minimum(place - at, np.float32(1.0))
    at += (np.arange(len(own), dtype=np.int32) * _RADIAL_STEPS)[:, None, None]
    low = own.take(at)
    at += 1
    return np.asarray(low + (own.take(at) - low) * rest, np.float32)
