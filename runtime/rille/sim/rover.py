"""What a mast camera on a rover sees."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rille.sim.band import Band, angles
from rille.sim.detail import Detail
from rille.sim.ground import TERRAINS, Ground
from rille.sim.horizon import Horizon
from rille.sim.lens import Lens, View
from rille.sim.solids import Solids, joined, screen_boxes

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BAND_PX = 102_400


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
    """Renders views of a ground; several threads may render at a time.

    Args:
        ground: the world.
        lens: the camera's geometry.
        seed: of the fine relief.
    """

    def __init__(self, ground: Ground, lens: Lens, seed: int) -> None:
        self.ground, self.lens = ground, lens
        rng = np.random.default_rng([seed, 12])
        kind = TERRAINS[ground.world][ground.terrain]
        self.detail = Detail(
            rng,
            0.10 * math.sqrt(kind.deviation / 0.022),
            kind.hurst,
            ground.sun_azimuth_deg,
            ground.sun_elevation_deg,
        )
        self.dither = rng.random((lens.height, lens.width), np.float32)

    def render(self, view: View, own: Solids | None = None) -> Rendering:
        """Render what is seen from a place.

        Args:
            view: the camera.
            own: bodies that move with the camera: the rover itself.
        """
        lens = self.lens
        horizon = self._horizon(view)
        fixed = self.ground.solids
        bodies = fixed if own is None else joined([fixed, own])
        near, boxes = screen_boxes(bodies, lens, view)
        shape = (lens.height, lens.width)
        whole = Rendering(
            radiance=np.empty((*shape, 3) if self.ground.world == "mars" else shape, np.float32),
            range_m=np.empty(shape, np.float32),
            x_m=np.empty(shape, np.float32),
            y_m=np.empty(shape, np.float32),
            body=np.empty(shape, np.int32),
            light=np.empty(shape, np.float32),
        )
        # A few rows at a time: what is worked on then stays in the processor's caches.
        bands = min(max(1, round(lens.width * lens.height / _BAND_PX)), lens.height)
        edges = np.linspace(0, lens.height, bands + 1).astype(int).tolist()
        for top, bottom in itertools.pairwise(edges):
            band = Band(self.ground, lens, view, slice(top, bottom))
            band.draw_ground(horizon, self.detail, self.dither, own)
            band.draw_bodies(bodies, near, boxes, self.detail)
            band.store(whole)
        return whole

    def _horizon(self, view: View) -> Horizon:
        """Return the table for the azimuths and elevations that the image's border sees."""
        borders = (
            (slice(0, 1), slice(None)),
            (slice(-1, None), slice(None)),
            (slice(None), slice(0, 1)),
            (slice(None), slice(-1, None)),
        )
        tangents, azimuths = [], []
        for rows, columns in borders:
            x, y, z = (d[:, columns].ravel() for d in self.lens.directions(view, rows))
            tangent, azimuth, _ = angles(x, y, z, view)
            tangents.append(tangent)
            azimuths.append(azimuth)
        tangent, azimuth = np.concatenate(tangents), np.concatenate(azimuths)
        slack = 2.0 / self.lens.focal_px
        return Horizon(
            self.ground,
            view,
            (float(azimuth.min()) - slack, float(azimuth.max()) + slack),
            int(1.15 * self.lens.width),
            float(tangent.min()) - slack,
        )
