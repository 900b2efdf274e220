"""A patch of Moon seen from above under a fixed Sun: relief, shadows, brightness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.sim.craters import Craters
from rille.sim.light import cast_shadows, shade
from rille.sim.moonscape import GROUNDS, Moonscape, make_moonscape

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELLS = 2048
CELL_M = 50.0
_FILL = 0.0028


@dataclass(frozen=True, slots=True)
class Scene:
    """A lit patch of ground.

    Attributes:
        radiance: brightness maps, (n, n) float32, each half the size of the one before; 1 is
            a bright highland slope facing the Sun.
        craters: every crater in it.
        cell_m: side of a cell of the finest map, metres.
        sun_azimuth_deg: where the light comes from, from +x towards +y.
        sun_elevation_deg: above the horizon.
    """

    radiance: tuple[NDArray[np.float32], ...]
    craters: Craters
    cell_m: float
    sun_azimuth_deg: float
    sun_elevation_deg: float

    @property
    def side_m(self) -> float:
        """Side of the patch in metres."""
        return len(self.radiance[0]) * self.cell_m


def build_scene(
    seed: int,
    *,
    sun_elevation_deg: float = 28.0,
    sun_azimuth_deg: float = 180.0,
    density: float = 1.0,
    ground: str = "highland",
) -> Scene:
    """Build a patch of Moon of 102 km.

    Args:
        seed: the same seed gives the same patch.
        sun_elevation_deg: above the horizon, 1.5 to 80.
        sun_azimuth_deg: where the light comes from, from +x (right) towards +y (down).
        density: factor on the number of craters.
        ground: "highland" or "mare".
    """
    rng = np.random.default_rng([seed, 1])
    made = make_moonscape(rng, GROUNDS[ground], CELLS, CELL_M, density=density)
    first = illuminate(made, CELL_M, sun_azimuth_deg, sun_elevation_deg)
    return lit_scene(first, made.craters, CELL_M, sun_azimuth_deg, sun_elevation_deg)


def lit_scene(
    radiance: NDArray[np.float32],
    craters: Craters,
    cell_m: float,
    sun_azimuth_deg: float,
    sun_elevation_deg: float,
) -> Scene:
    """Return a scene of a lit map, with the coarser maps that distant views need."""
    maps = [radiance]
    for _ in range(2):
        maps.append(
            np.asarray(
                cv2.resize(maps[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
                np.float32,
            )
        )
    return Scene(tuple(maps), craters, cell_m, sun_azimuth_deg, sun_elevation_deg)


def illuminate(
    made: Moonscape, cell_m: float, sun_azimuth_deg: float, sun_elevation_deg: float
) -> NDArray[np.float32]:
    """Return the brightness of a patch seen from straight above, shadows included."""
    light = shade(made.height, cell_m, sun_azimuth_deg, sun_elevation_deg)
    light *= cast_shadows(made.height, cell_m, sun_azimuth_deg, sun_elevation_deg)
    return (light + np.float32(_FILL)) * made.albedo
