"""Convex bodies in view: rocks and hardware, hit exactly by the rays of the pixels."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from rille.sim import rocks as rock_law
from rille.sim.rocks import FACES, SHAPES, Rocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rille.sim.lens import Lens, View

BOX, WHEEL = SHAPES, SHAPES + 1
_LEAST_RADIUS_PX = 0.9
_MARGIN_PX = np.array([-0.6, -0.6, 0.6, 0.6])
_TILT = 0.12
"""How much more of a foot is seen where the camera is rolled or the rock leans."""
_SIDES = {BOX: 6}
_BULGE = 1.12
"""How far a polyhedron's corners may stand out of its ellipsoid."""


@dataclass(frozen=True, slots=True)
class Solids:
    """Convex bodies as columns.

    Attributes:
        centre_m: (n, 3).
        into: (n, 3, 3) matrices that turn world offsets from the centre into the unit shape.
        reach_m: (n,) radius of a sphere around each.
        span_m: (n, 2) height of the lowest and of the highest part that stands out of the ground.
        shape: (n,) index into `shapes()`.
        albedo: (n,) brightness relative to the ground.
    """

    centre_m: NDArray[np.float32]
    into: NDArray[np.float32]
    reach_m: NDArray[np.float32]
    span_m: NDArray[np.float32]
    shape: NDArray[np.intp]
    albedo: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.shape)

    def pick(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> Solids:
        """Return some of them."""
        return Solids(*(getattr(self, f.name)[which] for f in fields(self)))


def joined(parts: Sequence[Solids]) -> Solids:
    """Return several groups as one, in order."""
    return Solids(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Solids)))


def solid(
    centre_m: NDArray[np.float64],
    axes: NDArray[np.float64],
    half_m: NDArray[np.float64],
    shape: int,
    albedo: float,
) -> Solids:
    """Return one body.

    Args:
        centre_m: (3,).
        axes: (3, 3) its own unit axes as rows.
        half_m: (3,) half extents along them.
        shape: `BOX`, `WHEEL` (whose axle is the second axis) or one of the rocks' shapes.
        albedo: brightness relative to the ground.
    """
    return Solids(
        centre_m=centre_m[None].astype(np.float32),
        into=(axes / half_m[:, None])[None].astype(np.float32),
        reach_m=np.array([np.linalg.norm(half_m)], np.float32),
        span_m=np.array([[-1.0, 1.0]], np.float32) * np.linalg.norm(half_m) + centre_m[2],
        shape=np.array([shape]),
        albedo=np.array([albedo], np.float32),
    )


def from_rocks(rocks: Rocks, ground_m: NDArray[np.float32]) -> Solids:
    """Return rocks as bodies.

    Args:
        rocks: the rocks.
        ground_m: (n,) height of the ground at their centres.
    """
    cos, sin = np.cos(rocks.yaw), np.sin(rocks.yaw)
    zero, one = np.zeros_like(cos), np.ones_like(cos)
    turn = np.stack(
        [
            np.stack([cos, sin, zero], axis=1),
            np.stack([-sin, cos, zero], axis=1),
            np.stack([zero, zero, one], axis=1),
        ],
        axis=1,
    )
    return Solids(
        centre_m=np.stack([rocks.x_m, rocks.y_m, ground_m + rocks.lift_m], 1).astype(np.float32),
        into=(turn / rocks.axes_m[:, :, None]).astype(np.float32),
        reach_m=(rocks.axes_m.max(axis=1) * _BULGE).astype(np.float32),
        span_m=np.stack(
            # The ground may fall away by a part of the rock's own width.
            [ground_m - 0.3 * rocks.axes_m[:, 0], ground_m + rocks.lift_m + rocks.axes_m[:, 2]],
            axis=1,
        ).astype(np.float32),
        shape=rocks.shape,
        albedo=rocks.albedo.astype(np.float32),
    )


@lru_cache(maxsize=1)
def shapes() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return all unit shapes as half-spaces n . p <= d: rocks, the box, the wheel.

    Returns:
        (SHAPES + 2, FACES, 3) normals and (SHAPES + 2, FACES) distances.
    """
    normals, distances = rock_law.shapes()
    cube = np.concatenate([np.eye(3), -np.eye(3)])
    box = cube[np.arange(FACES) % 6]
    angle = 2 * np.pi * np.arange(FACES - 2) / (FACES - 2)
    rim = np.stack([np.cos(angle), np.zeros(FACES - 2), np.sin(angle)], axis=1)
    wheel = np.concatenate([rim, [[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]]])
    extra = np.stack([box, wheel]).astype(np.float32)
    return np.concatenate([normals, extra]), np.concatenate(
        [distances, np.ones((2, FACES), np.float32)]
    )


@dataclass(frozen=True, slots=True)
class Hits:
    """What the rays of a band of rows hit, nearest body only.

    Attributes:
        pixel: (n,) flat index in the band.
        body: (n,) index of the body.
        face: (n,) index of its face.
        depth: (n,) distance as a multiple of the ray's direction.
    """

    pixel: NDArray[np.intp]
    body: NDArray[np.intp]
    face: NDArray[np.intp]
    depth: NDArray[np.float32]

    def pick(self, which: NDArray[np.intp]) -> Hits:
        """Return some of them, in the order asked for."""
        return Hits(*(getattr(self, f.name)[which] for f in fields(self)))

    def of(self, index: NDArray[np.intp]) -> Hits:
        """Return the same hits with bodies numbered as in the list they were picked from."""
        return replace(self, body=index[self.body])


def intersect(
    bodies: Solids,
    boxes: NDArray[np.int32],
    origin: NDArray[np.float32],
    directions: NDArray[np.float32],
    width: int,
    limit: NDArray[np.float32],
) -> Hits:
    """Hit bodies inside their boxes on the screen.

    Args:
        bodies: candidates.
        boxes: (n, 4) left, top, right, bottom of each in the band, inclusive.
        origin: (3,) the camera.
        directions: (pixels, 3) rays of the band.
        width: of the band.
        limit: (pixels,) depth beyond which the ground hides everything.
    """
    pixel, body = _pairs(boxes, width)
    start = np.einsum("nij,nj->ni", bodies.into, origin - bodies.centre_m)[body]
    along = _turned(bodies.into, body, directions[pixel])
    depth, face = _entries(bodies.shape[body], start, along)
    hit = np.flatnonzero(depth < limit[pixel])
    # The nearest body of a pixel comes last and so overwrites the others.
    hit = hit[np.argsort(-depth[hit], kind="stable")]
    last = np.full(len(directions), -1, np.intp)
    last[pixel[hit]] = hit
    kept = last[last >= 0]
    return Hits(pixel[kept], body[kept], face[kept], depth[kept])


def tops(bodies: Solids, cells: int, cell_m: float) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the height of the bodies' upper sides on the cells of a map around the origin.

    Args:
        bodies: those that reach into the map.
        cells, cell_m: cells along a side, and their size in metres.

    Returns:
        (n,) flat cell indices, some more than once, and (n,) heights in metres.
    """
    corner = -(cells - 1) / 2 * cell_m
    reach = bodies.reach_m / cell_m
    x, y = ((bodies.centre_m[:, k] - corner) / cell_m for k in (0, 1))
    edges = np.stack([x - reach, y - reach, x + reach + 1, y + reach + 1], axis=1)
    (near,) = np.nonzero((edges[:, 2:] > 0).all(axis=1) & (edges[:, :2] < cells - 1).all(axis=1))
    boxes = np.clip(edges[near], 0, cells - 1).astype(np.int32)
    cell, body = _pairs(boxes, cells)
    body = near[body]
    row, column = np.divmod(cell, cells)
    above = np.stack(
        [
            column * cell_m + corner - bodies.centre_m[body, 0],
            row * cell_m + corner - bodies.centre_m[body, 1],
            bodies.reach_m[body],
        ],
        axis=1,
    ).astype(np.float32)
    start = _turned(bodies.into, body, above)
    depth, _ = _entries(bodies.shape[body], start, -bodies.into[body, :, 2])
    hit = np.isfinite(depth)
    height = bodies.centre_m[body, 2] + bodies.reach_m[body] - depth
    return cell[hit], height[hit].astype(np.float32)


def _turned(
    into: NDArray[np.float32], which: NDArray[np.intp], vectors: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return vectors turned by the matrix of each one's body, (n, 3); `np.einsum` is slower."""
    turned = np.empty_like(vectors)
    for i in range(3):
        turned[:, i] = sum(into[:, i, j].take(which) * vectors[:, j] for j in range(3))
    return turned


def _entries(
    shape: NDArray[np.intp], start: NDArray[np.float32], along: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return where rays enter unit shapes, infinite if they miss, and through which face.

    Args:
        shape: (n,) the shape of each ray.
        start, along: (n, 3) the rays in the shapes' own coordinates.
    """
    depth = np.full(len(shape), np.inf, np.float32)
    face = np.zeros(len(shape), np.intp)
    normals, distances = shapes()
    for k in np.unique(shape):
        # Rays at one shape share its half-spaces, so that one product serves them all.
        (group,) = np.nonzero(shape == k)
        sides = normals[k, : _SIDES.get(int(k))]
        slope = along[group] @ sides.T
        room = distances[k, : len(sides)] - start[group] @ sides.T
        depth[group], face[group] = _enter(slope, room)
    return depth, face


def _enter(
    slope: NDArray[np.float32], room: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return where rays enter a convex body, infinite if they miss, and through which face.

    Args:
        slope: (n, faces) n . direction.
        room: (n, faces) d - n . start.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        at = room / slope
    inward = slope < 0
    entry = np.where(inward, at, -np.inf)
    face = entry.argmax(axis=1)
    first = np.take_along_axis(entry, face[:, None], axis=1)[:, 0]
    leave = np.where(inward, np.inf, at).min(axis=1)
    return np.where((first < leave) & (first > 0), first, np.float32(np.inf)), face


def _pairs(boxes: NDArray[np.int32], width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return every pixel of every box: flat pixel indices, and box indices."""
    wide, high = boxes[:, 2] - boxes[:, 0] + 1, boxes[:, 3] - boxes[:, 1] + 1
    count = wide * high
    body = np.repeat(np.arange(len(boxes)), count)
    step = np.arange(len(body)) - np.repeat(np.cumsum(count) - count, count)
    row, column = np.divmod(step, wide[body])
    return (row + boxes[body, 1]) * width + column + boxes[body, 0], body


def screen_boxes(
    bodies: Solids, lens: Lens, view: View
) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Return the bodies that may be seen and the box of pixels around each.

    Args:
        bodies: all of them.
        lens, view: the camera.

    Returns:
        (k,) indices, and (k, 4) left, top, right, bottom, inclusive, within the image.
    """
    width, height = lens.width, lens.height
    middle = bodies.centre_m.astype(np.float64)
    middle[:, 2] = bodies.span_m.mean(axis=1)
    centre_px, ahead_m = lens.project(view, middle)
    ahead = np.maximum(ahead_m, 1e-3)
    # Off the axis things are stretched away from the centre.
    away = np.hypot(*(centre_px - [(width - 1) / 2, (height - 1) / 2]).T) / lens.focal_px
    scale = lens.focal_px / ahead * np.sqrt(1 + away**2)
    wide = scale * bodies.reach_m
    # An upright cylinder: half its height, and its round foot seen from above.
    above = np.minimum(1.0, np.abs(view.z_m - middle[:, 2]) / ahead + _TILT)
    high = scale * (0.5 * np.ptp(bodies.span_m, axis=1) * _BULGE + bodies.reach_m * above)
    x, y = centre_px.T
    edges = np.stack([x - wide, y - high, x + wide, y + high], axis=1) + _MARGIN_PX
    local = (middle - (view.x_m, view.y_m, view.z_m)) @ view.axes().T
    beside = np.hypot(local[:, 0], local[:, 1]) - 2 * bodies.reach_m
    seen = (ahead_m > 0.3) & (wide > _LEAST_RADIUS_PX) & (beside < 1.05 * lens.widest * ahead)
    for k in np.flatnonzero(bodies.shape >= BOX):
        box = _corner_box(bodies, int(k), lens, view)
        seen[k] = box is not None
        if box is not None:
            edges[k] = box
    seen &= (edges[:, 2] > 0) & (edges[:, 0] < width) & (edges[:, 3] > 0) & (edges[:, 1] < height)
    (near,) = np.nonzero(seen)
    clipped = np.clip(np.rint(edges[near]), 0, [width - 1, height - 1] * 2).astype(np.int32)
    return near, clipped


def _corner_box(
    bodies: Solids, k: int, lens: Lens, view: View
) -> tuple[float, float, float, float] | None:
    """Return the box around the corners of a long or near body; None if one is behind."""
    corners = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3), axis=-1).reshape(-1, 3)
    points = corners @ np.linalg.inv(bodies.into[k].astype(np.float64)).T + bodies.centre_m[k]
    pixels, ahead = lens.project(view, points)
    if ahead.min() < 0.05:
        return None
    left, top = pixels.min(axis=0) - 1
    right, bottom = pixels.max(axis=0) + 1
    return float(left), float(top), float(right), float(bottom)


def shadowed(
    bodies: Solids, points_m: NDArray[np.float32], sun: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Return whether a body stands between each point and the Sun.

    Args:
        bodies: a few.
        points_m: (n, 3).
        sun: (3,) unit vector to it.
    """
    dark = np.zeros(len(points_m), bool)
    middle = bodies.centre_m.mean(axis=0)
    around = np.linalg.norm(bodies.centre_m - middle, axis=1) + bodies.reach_m
    (near,) = np.nonzero(_behind(points_m, middle, float(around.max()), sun))
    points_m = points_m[near]
    for k in range(len(bodies)):
        some = _behind(points_m, bodies.centre_m[k], float(bodies.reach_m[k]), sun)
        start = (points_m[some] - bodies.centre_m[k]) @ bodies.into[k].T
        toward = np.broadcast_to(bodies.into[k] @ sun, start.shape)
        depth, _ = _entries(np.full(len(start), bodies.shape[k]), start, toward)
        dark[near[some]] |= np.isfinite(depth)
    return dark


def _behind(
    points_m: NDArray[np.float32],
    centre_m: NDArray[np.float32],
    reach_m: float,
    sun: NDArray[np.float32],
) -> NDArray[np.bool_]:
    """Return whether points lie in the cylinder behind a sphere that stands in the Sun."""
    offset = points_m - centre_m
    along = offset @ sun
    beside = np.einsum("ni,ni->n", offset, offset) - along * along
    return np.asarray((along < reach_m) & (beside < reach_m**2), np.bool_)
