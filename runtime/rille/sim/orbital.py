"""Tiles of an orbital mosaic at 100 m a pixel with a list of every catalogued crater.

They are made for training: craters too worn to be seen are labelled too, as catalogues have them,
and large ones are more frequent than in nature. Nine tiles are cut from one scene; a split must go
by scene (`scene_of`), never by tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.ellipse import Ellipse
from rille.sim.moonscape import GROUNDS, LABELLED_M, make_moonscape
from rille.sim.scene import illuminate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.sim.craters import Craters

TILE_PX = 416
PX_M = 100.0
TILES_A_SCENE = 9
SUN_WITHIN_DEG = 20.0
SUN_ELEVATIONS_DEG = (15.0, 22.0, 24.7, 26.5, 28.5, 31.5, 50.0)
"""At the shares 0, .1, .3, .5, .7, .9 and 1 of the scenes."""
LATITUDE_DEG = 45.0
LARGE = 3.2
PSF_PX = 0.42
GAMMA = 1.65
"""Brightness of the mosaic rises faster than that of the ground: its stretch is not published, and
contrast, spread and skew of the real tiles ask for this."""
SUNWARD_PX = 0.8
"""Labels of the real tiles lie so far towards the Sun from where shading puts the craters (the mean
brightness across 5,000 labels of quadrants A and B, mirrored in C). Why is not known."""
_GOLDEN = 0.6180339887
_CELLS = 2048
_CELL_M = 65.0
_TILE_CELLS = 640
_MARE_SHARE = 0.4
_NOISE_DN = 2.3


@dataclass(frozen=True, slots=True)
class OrbitalScene:
    """A lit patch of 133 km from which tiles are cut.

    Attributes:
        radiance: (2048, 2048) float32.
        craters: every crater in it, catalogued or not.
        haloed: number of craters with bright ejecta.
        ground: "highland" or "mare".
        sun_azimuth_deg: where the light comes from, from +x towards +y.
        sun_elevation_deg: above the horizon.
    """

    radiance: NDArray[np.float32]
    craters: Craters
    haloed: int
    ground: str
    sun_azimuth_deg: float
    sun_elevation_deg: float


def scene_of(seed: int) -> int:
    """Return the seed of the scene that a tile is cut from."""
    return seed // TILES_A_SCENE


@lru_cache(maxsize=1)
def orbital_scene(
    scene_seed: int, ground: str = "", sun: str = "right", large: float = LARGE
) -> OrbitalScene:
    """Make a scene.

    Args:
        scene_seed: the same seed gives the same scene.
        ground: "highland" or "mare"; empty to draw one.
        sun: the side on which the Sun stands, "left" or "right".
        large: factor on the number of craters of 4 km (40 px) and more.
    """
    rng = np.random.default_rng([scene_seed, 11])
    drawn = "mare" if rng.random() < _MARE_SHARE else "highland"
    ground = ground or drawn
    azimuth = rng.uniform(-SUN_WITHIN_DEG, SUN_WITHIN_DEG) + (180.0 if sun == "left" else 0.0)
    # Neighbouring seeds share the range of elevations evenly among them.
    share = (scene_seed + 0.5) * _GOLDEN % 1.0
    elevation = float(np.interp(share, (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0), SUN_ELEVATIONS_DEG))
    density = float(np.exp(rng.normal(0.0, 0.2)))
    made = make_moonscape(rng, GROUNDS[ground], _CELLS, _CELL_M, density=density, large=large)
    radiance = illuminate(made, _CELL_M, azimuth, elevation)
    return OrbitalScene(radiance, made.craters, made.haloed, ground, azimuth, elevation)


def tile(
    seed: int, *, ground: str = "", sun: str = "right", large: float = LARGE
) -> tuple[NDArray[np.uint8], list[Ellipse], NDArray[np.float64]]:
    """Render a training tile; neighbouring seeds share a scene, see `scene_of`.

    Args:
        seed: the same seed gives the same tile.
        ground: "highland" or "mare"; empty to draw one.
        sun: the side on which the Sun stands, "left" or "right". Walls of craters are bright on
            the other side.
        large: factor on the number of craters of 4 km (40 px) and more.

    Returns:
        (416, 416) uint8; the catalogued craters (1 km and more) whose centre is inside as upright
        ellipses in its pixels, parts may lie outside; (n,) their diameters in metres.
    """
    scene = orbital_scene(scene_of(seed), ground, sun, large)
    rng = np.random.default_rng([seed, 12])
    row, column = divmod(seed % TILES_A_SCENE, 3)
    # On an equirectangular map circles widen with the latitude.
    stretch = 1.0 / np.cos(np.radians(rng.uniform(0.0, LATITUDE_DEG)))
    width = round(_TILE_CELLS / stretch)
    top = row * _TILE_CELLS + int(rng.integers(0, 64))
    left = column * _TILE_CELLS + int(rng.integers(0, _CELLS - 2 * _TILE_CELLS - _TILE_CELLS))
    part = scene.radiance[top : top + _TILE_CELLS, left : left + width]
    pixels = expose(part, rng)
    scale_x, scale_y = TILE_PX / (width * _CELL_M), TILE_PX / (_TILE_CELLS * _CELL_M)
    ellipses, diameters = [], []
    craters = scene.craters.pick(scene.craters.diameter_m >= LABELLED_M)
    # Cell k covers [k, k + 1) cells of the map and its centre is the origin of metres.
    sunward = SUNWARD_PX if sun == "right" else -SUNWARD_PX
    x_px = (craters.x_m - (left - 0.5) * _CELL_M) * scale_x - 0.5 + sunward
    y_px = (craters.y_m - (top - 0.5) * _CELL_M) * scale_y - 0.5
    inside = (x_px > -0.5) & (x_px < TILE_PX - 0.5) & (y_px > -0.5) & (y_px < TILE_PX - 0.5)
    for k in np.flatnonzero(inside):
        d = float(craters.diameter_m[k])
        box = (float(x_px[k]), float(y_px[k]), d * scale_x, d * scale_y)
        ellipses.append(Ellipse.from_box(*box))
        diameters.append(d)
    return pixels, ellipses, np.array(diameters)


def expose(radiance: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turn a part of a radiance map into a tile: optics, exposure, noise, 8 bits.

    Args:
        radiance: (640, w) float32 at 65 m a cell; w below 640 stretches it in width.
        rng: where chance comes from.
    """
    area = cv2.resize(radiance, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)
    seen = cv2.GaussianBlur(area, (0, 0), PSF_PX)
    seen = cv2.pow(seen, GAMMA)
    mean = float(np.exp(rng.normal(np.log(68.0), 0.2)))
    digital = seen * np.float32(mean / max(float(seen.mean()), 1e-6))
    digital += rng.standard_normal(seen.shape, np.float32) * np.float32(_NOISE_DN)
    return np.asarray(np.clip(np.rint(digital), 0, 255), np.uint8)
