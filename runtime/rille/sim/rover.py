"""What a mast camera on a rover sees."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille.sim.air import AMBIENT, martian
from rille.sim.detail import Detail, gather
from rille.sim.ground import TERRAINS, Ground
from rille.sim.horizon import Horizon
from rille.sim.lens import Lens, View
from rille.sim.light import lunar_lambert, lunar_share, sun_share, towards_sun
from rille.sim.solids import Hits, Solids, intersect, screen_boxes, shapes

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAST_M = 1.8
_BANDS = 4


@dataclass(frozen=True, slots=True)
class Rendering:
    """One view before the sensor.

    Attributes:
        radiance: (H, W) float32; on Mars (H, W, 3), RGB.
        range_m: (H, W) float32 horizontal distance; infinite in the sky.
        x_m, y_m: (H, W) float32 where the ray ends on the map; NaN in the sky.
        body: (H, W) int32 index of the body hit, or -1.
        light: (H, W) float32 share of the Sun's disc that falls on it, 0 to 1.
    """

    radiance: NDArray[np.float32]
    range_m: NDArray[np.float32]
    x_m: NDArray[np.float32]
    y_m: NDArray[np.float32]
    body: NDArray[np.int32]
    light: NDArray[np.float32]


class RoverCamera:
    """Renders views of a ground.

    Args:
        ground: the world.
        lens: the camera's geometry.
        seed: of the fine relief.
        workers: threads that share a frame.
    """

    def __init__(self, ground: Ground, lens: Lens, seed: int, workers: int = 2) -> None:
        self.ground, self.lens = ground, lens
        rng = np.random.default_rng([seed, 12])
        kind = TERRAINS[ground.world][ground.terrain]
        self.fill = np.float32(AMBIENT[ground.world])
        self._sun = towards_sun(ground.sun_azimuth_deg, ground.sun_elevation_deg)
        self._detail = Detail(
            rng,
            0.10 * math.sqrt(kind.deviation / 0.022),
            kind.hurst,
            ground.sun_azimuth_deg,
            ground.sun_elevation_deg,
        )
        self._dither = rng.random((lens.height, lens.width), np.float32)
        self.bodies = ground.solids
        self._pool = ThreadPoolExecutor(workers) if workers > 1 else None
        # The pyramid of all levels, finest first: (cell, first level's map it needs, map).
        self._looks = [
            (level.cell_m * 2**k, level, look)
            for level in ground.levels
            for k, look in enumerate(level.looks)
        ]

    def render(self, view: View) -> Rendering:
        """Render what is seen from a place."""
        lens = self.lens
        x, y, z = lens.directions(view, slice(0, lens.height))
        flat = np.asarray(cv2.magnitude(x, y), np.float32)
        tangent = z / flat
        yaw = math.radians(view.yaw_deg)
        cos, sin = np.float32(math.cos(yaw)), np.float32(math.sin(yaw))
        azimuth = np.arctan2(y * cos - x * sin, x * cos + y * sin)
        horizon = Horizon(
            self.ground,
            view,
            (float(azimuth.min()), float(azimuth.max())),
            int(1.15 * lens.width),
            float(tangent.min()),
        )
        centre_px, ahead = lens.project(view, self.bodies.centre_m.astype(np.float64))
        near, boxes = screen_boxes(
            self.bodies, centre_px, ahead, lens.focal_px, lens.width, lens.height
        )
        whole = Rendering(
            radiance=np.empty((lens.height, lens.width), np.float32),
            range_m=np.empty((lens.height, lens.width), np.float32),
            x_m=np.empty((lens.height, lens.width), np.float32),
            y_m=np.empty((lens.height, lens.width), np.float32),
            body=np.full((lens.height, lens.width), -1, np.int32),
            light=np.zeros((lens.height, lens.width), np.float32),
        )
        edges = np.linspace(0, lens.height, _BANDS + 1).astype(int)

        def work(band: tuple[int, int]) -> None:
            rows = slice(*band)
            rays = np.stack([x[rows].ravel(), y[rows].ravel(), z[rows].ravel()], axis=1)
            part = _Band(self, view, rows, rays, flat[rows].ravel())
            part.ground(horizon.hit(tangent[rows].ravel(), azimuth[rows].ravel()), whole)
            part.smooth_skyline(horizon, tangent[rows], azimuth[rows], whole)
            part.bodies(near, boxes, whole)

        bands = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
        if self._pool is None:
            for band in bands:
                work(band)
        else:
            list(self._pool.map(work, bands))
        if self.ground.world == "mars":
            kind = (whole.body >= 0).astype(np.uint8) + (whole.body >= len(self.ground.rocks))
            length = np.sqrt(flat * flat + z * z)
            cos_sun = (x * self._sun[0] + y * self._sun[1] + z * self._sun[2]) / length
            colour = martian(whole.radiance, whole.range_m, kind, tangent, cos_sun)
            return replace(whole, radiance=colour)
        return whole


class _Band:
    """Some rows of a view on their way to radiance."""

    def __init__(
        self,
        camera: RoverCamera,
        view: View,
        rows: slice,
        rays: NDArray[np.float32],
        flat: NDArray[np.float32],
    ) -> None:
        self._camera, self._view, self._rows = camera, view, rows
        self._rays, self._flat = rays, flat
        self._width = camera.lens.width

    def ground(self, found: NDArray[np.float32], whole: Rendering) -> None:
        """Shade the ground."""
        camera, view = self._camera, self._view
        (seen,) = np.nonzero(np.isfinite(found))
        reach = found[seen]
        share = reach / self._flat[seen]
        dx, dy, dz = (self._rays[seen, k] for k in range(3))
        x, y = np.float32(view.x_m) + share * dx, np.float32(view.y_m) + share * dy
        footprint = self._footprint(reach)
        dither = camera._dither[self._rows].ravel()[seen]
        look = self._look(x, y, footprint, dither)
        fine = camera._detail.sample(x, y, footprint)
        sx, sy = look[:, 0] + fine[:, 0], look[:, 1] + fine[:, 1]
        light = look[:, 2] * fine[:, 2]
        level = 1 / np.sqrt(1 + sx * sx + sy * sy)
        sun = camera._sun
        mu0 = np.maximum((sun[2] - sun[0] * sx - sun[1] * sy) * level, 0)
        length = 1 / np.sqrt(dx * dx + dy * dy + dz * dz)
        mu = np.maximum((dx * sx + dy * sy - dz) * level * length, np.float32(0.02))
        value = self._brightness(mu0, mu, (dx * sun[0] + dy * sun[1] + dz * sun[2]) * -length)
        self._store(whole.radiance, seen, look[:, 3] * (value * light + camera.fill), 0.0)
        self._store(whole.range_m, seen, reach, np.inf)
        self._store(whole.x_m, seen, x, np.nan)
        self._store(whole.y_m, seen, y, np.nan)
        self._store(whole.light, seen, light * (mu0 > 0), 0.0)

    def smooth_skyline(
        self,
        horizon: Horizon,
        tangent: NDArray[np.float32],
        azimuth: NDArray[np.float32],
        whole: Rendering,
    ) -> None:
        """Let ground cover the share of each pixel that lies below the skyline (radiance only)."""
        pixel = np.float32(1 / self._camera.lens.focal_px)
        image = whole.radiance[self._rows]
        (rows,) = np.nonzero(tangent.max(axis=1) > horizon.lowest_skyline - pixel)
        if not len(rows):
            return
        part = slice(rows[0], rows[-1] + 1)
        gap = horizon.skyline(azimuth[part].ravel()).reshape(-1, self._width) - tangent[part]
        cover = np.clip(gap / pixel + np.float32(0.5), 0, 1)
        below = np.vstack([image[part][1:], image[part][-1:]])
        sky = np.isinf(whole.range_m[self._rows][part])
        image[part] = np.where(sky, below, image[part]) * cover

    def _store(
        self,
        image: NDArray[np.float32],
        seen: NDArray[np.intp],
        values: NDArray[np.floating[Any]],
        rest: float,
    ) -> None:
        part = np.full(len(self._flat), rest, np.float32)
        part[seen] = values
        image[self._rows] = part.reshape(-1, self._width)

    def _footprint(self, reach: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the size of a pixel on the ground: geometric mean of both directions."""
        across = reach * np.float32(1 / self._camera.lens.focal_px)
        stretch = np.minimum(np.sqrt(reach * np.float32(1 / MAST_M)), np.float32(4.0))
        return np.asarray(across * stretch, np.float32)

    @staticmethod
    def _brightness(
        mu0: NDArray[np.float32], mu: NDArray[np.float32], cos_phase: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return lunar-Lambert light times a phase curve with a surge towards opposition."""
        at = np.clip((cos_phase + 1) * np.float32(511.5), 0, 1023).astype(np.int16)
        share, phase = _PHASE_TABLE
        light = lunar_lambert(mu0, mu, share.take(at)) * phase.take(at)
        return np.asarray(light, np.float32)

    def _look(
        self,
        x: NDArray[np.float32],
        y: NDArray[np.float32],
        footprint: NDArray[np.float32],
        dither: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Look up slopes, light and albedo in the map whose cells fit the footprint."""
        looks = self._camera._looks
        cells = np.array([cell for cell, _, _ in looks], np.float32)
        wanted = np.searchsorted(cells, footprint * np.exp2(dither - 1)).astype(np.int8)
        outer = np.maximum(np.abs(x), np.abs(y))
        first = 0
        for level in self._camera.ground.levels[:-1]:
            first += len(level.looks)
            # Outside a level the finest map of the next one serves.
            wanted[(outer > level.half_m) & (wanted < first)] = first
        total = np.empty((len(x), 4), np.float32)
        for k in range(len(looks)):
            (where,) = np.nonzero(wanted >= k if k == len(looks) - 1 else wanted == k)
            if len(where):
                cell, level, values = looks[k]
                corner = np.float32(level.corner_m + (cell - level.cell_m) / 2)
                scale = np.float32(1 / cell)
                total[where] = gather(
                    values, (x[where] - corner) * scale, (y[where] - corner) * scale
                )
        return total

    def bodies(self, near: NDArray[np.intp], boxes: NDArray[np.int32], whole: Rendering) -> None:
        """Draw rocks and hardware over the ground."""
        top, bottom = self._rows.start, self._rows.stop - 1
        (here,) = np.nonzero((boxes[:, 3] >= top) & (boxes[:, 1] <= bottom))
        if not len(here):
            return
        part = boxes[here].copy()
        part[:, 1], part[:, 3] = (np.clip(part[:, k], top, bottom) - top for k in (1, 3))
        view = self._view
        origin = np.array([view.x_m, view.y_m, view.z_m], np.float32)
        bodies = self._camera.bodies.pick(near[here])
        limit = whole.range_m[self._rows].ravel() / self._flat
        hits = intersect(bodies, part, origin, self._rays, self._width, limit)
        if len(hits.pixel):
            self._shade_bodies(bodies, hits, near[here], origin, whole)

    def _shade_bodies(
        self,
        bodies: Solids,
        hits: Hits,
        index: NDArray[np.intp],
        origin: NDArray[np.float32],
        whole: Rendering,
    ) -> None:
        camera = self._camera
        rays = self._rays[hits.pixel]
        point = origin + rays * hits.depth[:, None]
        into = bodies.into[hits.body]
        local = np.einsum("nij,nj->ni", into, point - bodies.centre_m[hits.body])
        normals, _ = shapes()
        flat = normals[bodies.shape[hits.body], hits.face]
        # Edges of real rocks are worn: lean every facet towards the ellipsoid's own normal.
        round_ = local / np.maximum(np.linalg.norm(local, axis=1, keepdims=True), 1e-6)
        facet = np.where(
            (bodies.shape[hits.body] < len(normals) - 2)[:, None], 0.62 * flat + 0.38 * round_, flat
        )
        normal = np.einsum("nij,ni->nj", into, facet)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        distance = self._flat[hits.pixel] * hits.depth
        footprint = self._footprint(distance)
        # Two coordinates on the surface that no face degenerates.
        fine = camera._detail.sample(
            point[:, 0] + point[:, 2] * np.float32(0.83),
            point[:, 1] - point[:, 2] * np.float32(0.71),
            np.maximum(footprint, np.float32(0.012)),
        )
        normal[:, :2] -= 0.8 * fine[:, :2]
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        sun = camera._sun
        mu0 = np.maximum(normal @ sun, 0)
        length = np.linalg.norm(rays, axis=1)
        mu = np.maximum(-(normal * rays).sum(axis=1) / length, np.float32(0.05))
        light = self._sun_at(point) * (0.35 + 0.65 * fine[:, 2])
        value = self._brightness(mu0, mu, -(rays @ sun) / length)
        albedo = bodies.albedo[hits.body]
        for image, values in (
            (whole.radiance, albedo * (value * light + camera.fill)),
            (whole.range_m, distance),
            (whole.x_m, point[:, 0]),
            (whole.y_m, point[:, 1]),
            (whole.light, light * (mu0 > 0)),
            (whole.body, index[hits.body]),
        ):
            band = image[self._rows].reshape(-1)
            band[hits.pixel] = values

    def _sun_at(self, point: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the share of the Sun's disc at points above the ground."""
        light = np.ones(len(point), np.float32)
        todo = np.ones(len(point), bool)
        for level in self._camera.ground.levels[:2]:
            outer = np.maximum(np.abs(point[:, 0]), np.abs(point[:, 1]))
            (where,) = np.nonzero(todo & (outer < level.half_m))
            if not len(where):
                continue
            scale, corner = np.float32(1 / level.cell_m), np.float32(level.corner_m)
            u, v = ((point[where, k] - corner) * scale for k in (0, 1))
            low, high = (gather(s, u, v)[:, 0] for s in (level.low, level.high))
            # A body must not stand in the shadow of its own bump on the map.
            lift = np.float32(0.6 * level.cell_m)
            light[where] = sun_share(point[where, 2] + lift, low, high)
            todo[where] = False
        return light


def _phase_table() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return McEwen's L and the phase curve over the cosine of the phase angle, -1 to 1."""
    cosine = np.linspace(-1, 1, 1024, dtype=np.float32)
    g = np.degrees(np.arccos(cosine))
    curve = np.exp(-g / 65) + 0.11 * np.exp(-g / 8)
    return lunar_share(cosine), curve.astype(np.float32)


_PHASE_TABLE = _phase_table()
