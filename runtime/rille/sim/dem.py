"""Real terrain: an elevation model and a crater catalogue in place of procedural ones."""

from __future__ import annotations

import csv
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.errors import ConfigError, SourceError, SourceNotFoundError
from rille.sim.craters import Craters
from rille.sim.light import cast_shadows, shade
from rille.sim.scene import CELLS, Scene, lit_scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOON_RADIUS_M = 1_737_400.0
_METRES_PER_DEGREE = math.pi * MOON_RADIUS_M / 180
_MOST_PX = 2**28
_NOISE_PX = 1.0
_PIXEL_SCALE, _TIE_POINT = 33550, 33922


@dataclass(frozen=True, kw_only=True, slots=True)
class Elevation:
    """An elevation model in equirectangular projection, north up.

    Attributes:
        height_m: (H, W) float32.
        metres_per_px: along a meridian.
        west_deg, north_deg: of the upper left corner.
    """

    height_m: NDArray[np.float32]
    metres_per_px: float
    west_deg: float
    north_deg: float

    @property
    def px_per_degree(self) -> float:
        """Pixels in a degree of latitude."""
        return _METRES_PER_DEGREE / self.metres_per_px


def read_elevation(
    path: Path,
    *,
    metres_per_px: float | None = None,
    zero_m: float = 0.0,
    west_deg: float | None = None,
    north_deg: float | None = None,
) -> Elevation:
    """Read an elevation model: a 16-bit or float PNG or TIFF of one channel.

    Args:
        path: the file.
        metres_per_px: its scale; None to take it from a GeoTIFF's own tags.
        zero_m: elevation of a pixel of value 0.
        west_deg, north_deg: its upper left corner; None to take a GeoTIFF's, or 0.

    Raises:
        SourceNotFoundError: no such file.
        SourceError: not an elevation model.
        ConfigError: it has no scale, and none was given.
    """
    if not path.is_file():
        raise SourceNotFoundError(f"{path}: no such elevation model")
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 2 or image.dtype == np.uint8 or image.size > _MOST_PX:
        raise SourceError(
            f"{path}: not an elevation model (needed: one channel of 16 bits or floats, at most "
            f"{_MOST_PX >> 20} megapixels)"
        )
    if min(image.shape) < 64:
        raise SourceError(f"{path}: only {image.shape[1]} x {image.shape[0]} px; 64 are needed")
    tags = _geo_tags(path)
    scale = metres_per_px or tags.get("metres_per_px")
    if not scale:
        raise ConfigError(
            f"{path}: carries no scale; give it as metres_per_px=118.45 (metres of a pixel)"
        )
    return Elevation(
        height_m=np.asarray(image, np.float32) + np.float32(zero_m),
        metres_per_px=scale,
        west_deg=tags.get("west_deg", 0.0) if west_deg is None else west_deg,
        north_deg=tags.get("north_deg", 0.0) if north_deg is None else north_deg,
    )


def _geo_tags(path: Path) -> dict[str, float]:
    """Return scale and corner from a GeoTIFF's tags, as far as it has them."""
    data = path.read_bytes()
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return {}
    found: dict[int, tuple[float, ...]] = {}
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    try:
        (count,) = struct.unpack_from(f"{order}H", data, start)
        for k in range(count):
            tag, kind, length, at = struct.unpack_from(f"{order}HHII", data, start + 2 + 12 * k)
            if tag in (_PIXEL_SCALE, _TIE_POINT) and kind == 12 and length <= 24:
                found[tag] = struct.unpack_from(f"{order}{length}d", data, at)
    except struct.error:
        return {}
    if _PIXEL_SCALE not in found:
        return {}
    scale = found[_PIXEL_SCALE][1]
    # A scale in degrees is far below any in metres.
    in_degrees = scale < 0.5
    tags = {"metres_per_px": scale * _METRES_PER_DEGREE if in_degrees else scale}
    if len(found.get(_TIE_POINT, ())) >= 6:
        east, north = found[_TIE_POINT][3:5]
        unit = 1.0 if in_degrees else 1 / _METRES_PER_DEGREE
        tags |= {"west_deg": east * unit, "north_deg": north * unit}
    return tags


def read_catalogue(path: Path) -> NDArray[np.float64]:
    """Read a crater catalogue: a CSV file with longitude, latitude and diameter in km.

    Returns:
        (n, 3) longitude (degrees east), latitude (degrees north), diameter (metres).

    Raises:
        SourceNotFoundError: no such file.
        SourceError: columns or numbers that do not fit.
    """
    if not path.is_file():
        raise SourceNotFoundError(f"{path}: no such crater catalogue")
    # Some catalogues end their lines with a carriage return alone.
    with path.open(encoding="utf-8", errors="replace", newline=None) as file:
        rows = list(csv.DictReader(file))
    names = list(rows[0]) if rows else []
    columns = [
        next((n for n in names if n and n.strip().lower().startswith(start)), None)
        for start in ("lon", "lat", "diam")
    ]
    if None in columns:
        raise SourceError(
            f"{path}: needed are columns that begin with lon, lat and diam (km); found: "
            f"{', '.join(str(n) for n in names) or 'none'}"
        )
    table = []
    for number, row in enumerate(rows, start=2):
        try:
            table.append([float(row[str(name)]) for name in columns])
        except (TypeError, ValueError):
            raise SourceError(f"{path}: record {number}: not three numbers") from None
    found = np.array(table, np.float64).reshape(-1, 3)
    found[:, 2] *= 1000.0
    return found


def build_dem_scene(
    elevation: Elevation,
    catalogue: NDArray[np.float64],
    seed: int,
    *,
    sun_elevation_deg: float,
    sun_azimuth_deg: float,
) -> Scene:
    """Light a square of a real elevation model.

    The square is in sinusoidal projection about its own middle, so that craters are round.

    Args:
        elevation: the model.
        catalogue: (n, 3) craters that are known to be there; see `read_catalogue`.
        seed: where in the model, if it is larger than a scene.
        sun_elevation_deg, sun_azimuth_deg: where the light comes from; azimuth on the map, from
            +x (east) towards +y (south).
    """
    height, width = elevation.height_m.shape
    cells = min(CELLS, height, width) // 8 * 8
    rng = np.random.default_rng([seed, 21])
    middle_x, middle_y = (
        float(rng.uniform(cells / 2, max(side - cells / 2, cells / 2 + 1e-6)))
        for side in (width, height)
    )
    at = np.arange(cells) - (cells - 1) / 2
    rows = middle_y - 0.5 + at
    latitude = elevation.north_deg - (rows + 0.5) / elevation.px_per_degree
    stretch = 1 / np.cos(np.radians(latitude))
    x = (middle_x - 0.5 + at[None, :] * stretch[:, None]).astype(np.float32)
    y = np.repeat(rows[:, None], cells, axis=1).astype(np.float32)
    # Stereo matching leaves noise of one to three pixels.
    smooth = cv2.GaussianBlur(elevation.height_m, (0, 0), _NOISE_PX)
    relief = np.asarray(
        cv2.remap(smooth, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101), np.float32
    )
    cell = elevation.metres_per_px
    light = shade(relief, cell, sun_azimuth_deg, sun_elevation_deg)
    light *= cast_shadows(relief, cell, sun_azimuth_deg, sun_elevation_deg)
    craters = _catalogued(catalogue, elevation, middle_x, middle_y, cells)
    return lit_scene(light, craters, cell, sun_azimuth_deg, sun_elevation_deg)


def _catalogued(
    catalogue: NDArray[np.float64],
    elevation: Elevation,
    middle_x: float,
    middle_y: float,
    cells: int,
) -> Craters:
    """Return the catalogue's craters in and around a square, in metres from its first cell."""
    k = elevation.px_per_degree
    longitude, latitude, diameter_m = catalogue.T
    east = (longitude - elevation.west_deg + 180) % 360 - 180
    x = (east * k - middle_x) * np.cos(np.radians(latitude)) + (cells - 1) / 2
    y = (elevation.north_deg - latitude) * k - middle_y + (cells - 1) / 2
    reach = diameter_m / 2 / elevation.metres_per_px
    near = (np.abs(x - cells / 2) < cells / 2 + reach) & (np.abs(y - cells / 2) < cells / 2 + reach)
    order = np.flatnonzero(near)
    order = order[np.argsort(-diameter_m[order])]
    zero = np.zeros(len(order))
    return Craters(
        x_m=x[order] * elevation.metres_per_px,
        y_m=y[order] * elevation.metres_per_px,
        diameter_m=diameter_m[order],
        ratio=zero + 1,
        angle_deg=zero,
        wear=zero,
        lobes=np.zeros((len(order), 4)),
    )
