"""Some rows of a rover's view, from rays to radiance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.sim.air import ambient, martian
from rille.sim.detail import Detail, by_size, gather
from rille.sim.ground import Ground
from rille.sim.lens import Lens, View
from rille.sim.light import lunar_lambert, lunar_share, sun_share, towards_sun
from rille.sim.solids import BOX, Hits, Solids, intersect, shadowed, shapes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.sim.horizon import Horizon
    from rille.sim.rover import Rendering

_MAST_M = 1.8
_PANEL = 0.6


def angles(
    x: NDArray[np.float32], y: NDArray[np.float32], z: NDArray[np.float32], view: View
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return tangent of the elevation, azimuth from the yaw, and horizontal length of rays."""
    yaw = math.radians(view.yaw_deg)
    cos, sin = np.float32(math.cos(yaw)), np.float32(math.sin(yaw))
    flat = np.asarray(np.sqrt(x * x + y * y), np.float32)
    azimuth = np.arctan2(y * cos - x * sin, x * cos + y * sin)
    return np.asarray(z / flat, np.float32), np.asarray(azimuth, np.float32), flat


class Band:
    """Rows of a view; arrays are flat, one element a pixel.

    Args:
        ground: the world.
        lens, view: the camera.
        rows: which rows.
    """

    def __init__(self, ground: Ground, lens: Lens, view: View, rows: slice) -> None:
        self._ground, self._lens, self._view, self._rows = ground, lens, view, rows
        x, y, z = (d.ravel() for d in lens.directions(view, rows))
        self._rays = (x, y, z)
        self._tangent, self._azimuth, self._flat = angles(x, y, z, view)
        self._sun = towards_sun(ground.sun_azimuth_deg, ground.sun_elevation_deg)
        self._fill = np.float32(ambient(ground.world, ground.sun_elevation_deg))
        count = len(x)
        self._radiance = np.zeros(count, np.float32)
        self._range = np.full(count, np.inf, np.float32)
        self._x, self._y = (np.full(count, np.nan, np.float32) for _ in "xy")
        self._light = np.zeros(count, np.float32)
        self._body = np.full(count, -1, np.int32)

    def draw_ground(
        self, horizon: Horizon, detail: Detail, dither: NDArray[np.float32], own: Solids | None
    ) -> None:
        """Cast the rays at the ground and shade it.

        Args:
            horizon: the ground as seen from the camera.
            detail: relief finer than the maps.
            dither: (H, W) of the whole image, 0 to 1; blends maps of neighbouring fineness.
            own: bodies that move with the camera and cast shadows, or None.
        """
        found = horizon.hit(self._tangent, self._azimuth)
        (seen,) = np.nonzero(np.isfinite(found))
        # By distance, so that pixels of one scale of detail stand together.
        seen = seen[by_size(found[seen])]
        reach = found[seen]
        share = reach / self._flat[seen]
        dx, dy, dz = (d[seen] for d in self._rays)
        view, sun = self._view, self._sun
        x, y = np.float32(view.x_m) + share * dx, np.float32(view.y_m) + share * dy
        footprint = self._footprint(reach)
        look = self._look(x, y, footprint, dither[self._rows].ravel()[seen])
        fine = detail.sample(x, y, footprint)
        sx, sy = look[:, 0] + fine[:, 0], look[:, 1] + fine[:, 1]
        light = look[:, 2] * fine[:, 2]
        if own is not None:
            point = np.stack([x, y, np.float32(view.z_m) + share * dz], axis=1)
            self._cast_own_shadow(own, light, point, reach)
        level = 1 / np.sqrt(1 + sx * sx + sy * sy)
        mu0 = np.maximum((sun[2] - sun[0] * sx - sun[1] * sy) * level, 0)
        length = 1 / np.sqrt(dx * dx + dy * dy + dz * dz)
        mu = np.maximum((dx * sx + dy * sy - dz) * level * length, np.float32(0.02))
        value = _brightness(mu0, mu, (dx * sun[0] + dy * sun[1] + dz * sun[2]) * -length)
        self._radiance[seen] = look[:, 3] * (value * light + self._fill)
        self._range[seen] = reach
        self._x[seen], self._y[seen] = x, y
        self._light[seen] = light * (mu0 > 0)
        self._smooth_skyline(horizon)

    def draw_bodies(
        self,
        bodies: Solids,
        near: NDArray[np.intp],
        boxes: NDArray[np.int32],
        detail: Detail,
    ) -> None:
        """Draw rocks and hardware over the ground.

        Args:
            bodies: all of them.
            near, boxes: those that may be seen, and where; see `screen_boxes`.
            detail: relief of their surfaces.
        """
        top, bottom = self._rows.start, self._rows.stop - 1
        (here,) = np.nonzero((boxes[:, 3] >= top) & (boxes[:, 1] <= bottom))
        if not len(here):
            return
        part = boxes[here].copy()
        part[:, 1], part[:, 3] = (np.clip(part[:, k], top, bottom) - top for k in (1, 3))
        origin = np.array([self._view.x_m, self._view.y_m, self._view.z_m], np.float32)
        rays = np.stack(self._rays, axis=1)
        limit = self._range / self._flat
        hits = intersect(bodies.pick(near[here]), part, origin, rays, self._lens.width, limit)
        if len(hits.pixel):
            self._shade_bodies(bodies, hits.of(near[here]), origin, rays, detail)

    def store(self, whole: Rendering) -> None:
        """Write the rows into the image."""
        for image, values in (
            (whole.range_m, self._range),
            (whole.x_m, self._x),
            (whole.y_m, self._y),
            (whole.light, self._light),
            (whole.body, self._body),
            (whole.radiance, self._coloured()),
        ):
            image[self._rows] = values.reshape(image[self._rows].shape)

    def _coloured(self) -> NDArray[np.float32]:
        if self._ground.world != "mars":
            return self._radiance
        kind = (self._body >= 0).astype(np.uint8) + (self._body >= len(self._ground.rocks))
        x, y, z = self._rays
        cos_sun = x * self._sun[0] + y * self._sun[1] + z * self._sun[2]
        cos_sun /= np.sqrt(x * x + y * y + z * z)
        return martian(self._radiance, self._range, kind, self._tangent, cos_sun)

    def _footprint(self, reach: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the size of a pixel on the ground: geometric mean of both directions."""
        across = reach * np.float32(1 / self._lens.focal_px)
        stretch = np.minimum(np.sqrt(reach * np.float32(1 / _MAST_M)), np.float32(4.0))
        return np.asarray(across * stretch, np.float32)

    def _look(
        self,
        x: NDArray[np.float32],
        y: NDArray[np.float32],
        footprint: NDArray[np.float32],
        dither: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Look up slopes, light and albedo in the map whose cells fit the footprint."""
        pyramid = self._ground.pyramid
        cells = np.array([cell for cell, _, _ in pyramid], np.float32)
        wanted = np.searchsorted(cells, footprint * np.exp2(dither - 1)).astype(np.int8)
        np.minimum(wanted, len(pyramid) - 1, out=wanted)
        outer = np.maximum(np.abs(x), np.abs(y))
        first = 0
        for level in self._ground.levels[:-1]:
            first += len(level.looks)
            # Outside a level the finest map of the next one serves.
            wanted[(outer > level.half_m) & (wanted < first)] = first
        total = np.empty((len(x), 4), np.float32)
        for k, (cell, corner, values) in enumerate(pyramid):
            (where,) = np.nonzero(wanted == k)
            if len(where):
                scale, start = np.float32(1 / cell), np.float32(corner)
                u, v = (x[where] - start) * scale, (y[where] - start) * scale
                total[where] = gather(values, u, v)
        return total

    def _cast_own_shadow(
        self,
        own: Solids,
        light: NDArray[np.float32],
        point: NDArray[np.float32],
        reach: NDArray[np.float32],
    ) -> None:
        """Take the light where the rover itself stands before the Sun, in place."""
        if not len(point):
            return
        top = float((own.centre_m[:, 2] + own.reach_m).max())
        drop = top - float(point[:, 2].min())
        far = drop / math.tan(math.radians(self._ground.sun_elevation_deg)) + 1.5
        (near,) = np.nonzero(reach < far)
        light[near[shadowed(own, point[near], self._sun)]] = 0.0

    def _smooth_skyline(self, horizon: Horizon) -> None:
        """Let ground cover the share of each pixel that lies below the skyline (radiance only)."""
        width, pixel = self._lens.width, np.float32(1 / self._lens.focal_px)
        tangent = self._tangent.reshape(-1, width)
        (rows,) = np.nonzero(tangent.max(axis=1) > horizon.lowest_skyline - pixel)
        if not len(rows):
            return
        part = slice(rows[0] * width, (rows[-1] + 1) * width)
        gap = horizon.skyline(self._azimuth[part]) - self._tangent[part]
        cover = np.clip(gap / pixel + np.float32(0.5), 0, 1)
        image = self._radiance[part]
        below = np.concatenate([image[width:], image[-width:]])
        self._radiance[part] = np.where(np.isinf(self._range[part]), below, image) * cover

    def _shade_bodies(
        self,
        bodies: Solids,
        hits: Hits,
        origin: NDArray[np.float32],
        rays: NDArray[np.float32],
        detail: Detail,
    ) -> None:
        hits = hits.pick(by_size(self._flat[hits.pixel] * hits.depth))
        distance = self._flat[hits.pixel] * hits.depth
        rays = rays[hits.pixel]
        point = origin + rays * hits.depth[:, None]
        into = bodies.into[hits.body]
        local = np.einsum("nij,nj->ni", into, point - bodies.centre_m[hits.body])
        normal = _normals(bodies.shape[hits.body], hits.face, local, into)
        # Two coordinates on the surface along which no face is seen edge-on.
        fine = detail.sample(
            point[:, 0] + point[:, 2] * np.float32(0.83),
            point[:, 1] - point[:, 2] * np.float32(0.71),
            np.maximum(self._footprint(distance), np.float32(0.012)),
        )
        made = bodies.shape[hits.body] >= BOX
        fine[made] = (0.0, 0.0, 1.0)
        normal[:, :2] -= 0.8 * fine[:, :2]
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        mu0 = np.maximum(normal @ self._sun, 0)
        length = np.linalg.norm(rays, axis=1)
        mu = np.maximum(-(normal * rays).sum(axis=1) / length, np.float32(0.05))
        light = self._sun_at(point) * (0.35 + 0.65 * fine[:, 2])
        value = _brightness(mu0, mu, -(rays @ self._sun) / length)
        albedo = bodies.albedo[hits.body]
        panel = made & (albedo < _PANEL)
        albedo[panel] *= _cells(local[panel])
        self._radiance[hits.pixel] = albedo * (value * light + self._fill)
        self._range[hits.pixel] = distance
        self._x[hits.pixel], self._y[hits.pixel] = point[:, 0], point[:, 1]
        self._light[hits.pixel] = light * (mu0 > 0)
        self._body[hits.pixel] = hits.body

    def _sun_at(self, point: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the share of the Sun's disc at points above the ground."""
        light = np.ones(len(point), np.float32)
        outer = np.maximum(np.abs(point[:, 0]), np.abs(point[:, 1]))
        beyond = -1.0
        for level in self._ground.levels[:2]:
            (where,) = np.nonzero((outer > beyond) & (outer <= level.half_m))
            beyond = level.half_m
            scale, corner = np.float32(1 / level.cell_m), np.float32(level.corner_m)
            u, v = ((point[where, k] - corner) * scale for k in (0, 1))
            low, high = (gather(s, u, v)[:, 0] for s in (level.low, level.high))
            # A body must not stand in the shadow of its own bump on the map.
            lift = np.float32(0.6 * level.cell_m)
            light[where] = sun_share(point[where, 2] + lift, low, high)
        return light


def _normals(
    shape: NDArray[np.intp],
    face: NDArray[np.intp],
    local: NDArray[np.float32],
    into: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return unit normals in the world, (n, 3); edges of rocks are worn, those of hardware sharp.

    Args:
        shape, face: of what was hit.
        local: (n, 3) where, in the shape's own coordinates.
        into: (n, 3, 3) from the world to those.
    """
    normals, _ = shapes()
    flat = normals[shape, face]
    # Lean every facet of a rock towards its ellipsoid's own normal.
    rounded = local / np.maximum(np.linalg.norm(local, axis=1, keepdims=True), 1e-6)
    facet = np.where((shape < BOX)[:, None], 0.62 * flat + 0.38 * rounded, flat)
    normal = np.einsum("nij,ni->nj", into, facet)
    return np.asarray(normal / np.linalg.norm(normal, axis=1, keepdims=True), np.float32)


def _brightness(
    mu0: NDArray[np.float32], mu: NDArray[np.float32], cos_phase: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return lunar-Lambert light times a phase curve with a surge towards opposition."""
    at = np.clip((cos_phase + 1) * np.float32(511.5), 0, 1023).astype(np.int16)
    share, phase = _PHASE_TABLE
    light = lunar_lambert(mu0, mu, share.take(at)) * phase.take(at)
    return np.asarray(light, np.float32)


def _cells(local: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the pattern of a solar panel: dark cells between bright lines."""
    line = (np.abs(np.mod(local[:, :2] * 5, 1) - 0.5) > 0.46).any(axis=1)
    return np.where(line, np.float32(2.6), np.float32(1.0))


def _phase_table() -> tuple[NDArray[np.float32], Any]:
    """Return McEwen's L and the phase curve over the cosine of the phase angle, -1 to 1."""
    cosine = np.linspace(-1, 1, 1024, dtype=np.float32)
    g = np.degrees(np.arccos(cosine))
    curve = np.exp(-g / 65) + 0.11 * np.exp(-g / 8)
    return lunar_share(cosine), curve.astype(np.float32)


_PHASE_TABLE = _phase_table()
