"""Descents on real terrain: an elevation model with its scale, a catalogue as ground truth."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from rille.errors import ConfigError, RilleError, SourceError, SourceNotFoundError
from rille.sim.dem import build_dem_scene, read_catalogue, read_elevation
from rille.sources import open_source

METRES = 100.0
DEGREE_PX = math.pi * 1_737_400 / 180 / METRES


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A plain of 640 px with one bowl of 6 km, its middle at column 330, row 310."""
    y, x = np.mgrid[0:640, 0:640]
    r = np.hypot(x - 330, y - 310) / 30
    height = 2000 + np.where(r < 1, 900 * (r**2 - 1), 0)
    path = tmp_path / "dem.png"
    cv2.imwrite(str(path), np.rint(height).astype(np.uint16))
    return path


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    path = tmp_path / "craters.csv"
    lon, lat = 10 + 330.5 / DEGREE_PX, 5 - 310.5 / DEGREE_PX
    # Carriage returns alone end the lines, as in one published catalogue.
    path.write_bytes(f"Lon,Lat,Diam_km\r{lon:.6f},{lat:.6f},6.0\r100.0,0.0,30.0".encode())
    return path


def test_the_catalogue_lies_on_the_terrain(model: Path, catalogue: Path) -> None:
    """The labelled ellipse is where light and shadow of the bowl are, in every frame."""
    uri = (
        f"sim://moon?terrain=dem&path={model}&catalogue={catalogue}&metres_per_px=100&zero_m=-2000"
        "&west_deg=10&north_deg=5&frames=5&realtime=0&size=320x240&sun_elevation_deg=15"
    )
    seen = 0
    with open_source(uri) as camera:
        for frame in camera:
            assert frame.truth is not None
            assert frame.truth.diameters_m in ((), (6000.0,))
            for ellipse in frame.truth.craters:
                reach = ellipse.semi_major
                if not (reach < ellipse.x < 320 - reach and reach < ellipse.y < 240 - reach):
                    continue
                seen += 1
                away = np.abs(frame.pixels.astype(float) - np.median(frame.pixels)) > 40
                rows, columns = np.nonzero(away)
                assert abs(columns.mean() - ellipse.x) < 0.35 * ellipse.semi_major
                assert abs(rows.mean() - ellipse.y) < 0.35 * ellipse.semi_major
                expected = 6000.0 / frame.truth.metres_per_px
                assert ellipse.diameter == pytest.approx(expected, rel=0.1)
    assert seen >= 3


def geotiff(path: Path, scale: float, corner: tuple[float, float]) -> Path:
    """A TIFF of 64 x 64 16-bit pixels with a GeoTIFF's scale and tie point, by hand."""
    pixels = np.full((64, 64), 700, np.uint16).tobytes()
    doubles = struct.pack("<3d", scale, scale, 0.0) + struct.pack("<6d", 0, 0, 0, *corner, 0.0)
    entries = [
        (256, 3, 1, 64), (257, 3, 1, 64), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, 1, 8 + len(doubles)), (277, 3, 1, 1), (278, 3, 1, 64),
        (279, 4, 1, len(pixels)), (33550, 12, 3, 8), (33922, 12, 6, 32),
    ]  # fmt: skip
    start = 8 + len(doubles) + len(pixels)
    table = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", *entry) for entry in entries
    )
    path.write_bytes(b"II*\0" + struct.pack("<I", start) + doubles + pixels + table + b"\0\0\0\0")
    return path


def test_a_geotiff_carries_its_own_scale(tmp_path: Path) -> None:
    found = read_elevation(geotiff(tmp_path / "a.tif", 1 / 256, (7.0, 23.0)), zero_m=-10_000)
    assert found.metres_per_px == pytest.approx(118.45, abs=0.01)
    assert (found.west_deg, found.north_deg) == (7.0, 23.0)
    assert found.height_m[0, 0] == -9300
    metres = read_elevation(geotiff(tmp_path / "b.tif", 60.0, (30_323.0, 0.0)))
    assert metres.metres_per_px == 60.0
    assert metres.west_deg == pytest.approx(1.0, abs=0.001)


def test_the_same_seed_gives_the_same_place(model: Path) -> None:
    elevation = read_elevation(model, metres_per_px=100.0)
    none = np.zeros((0, 3))
    light = {"sun_elevation_deg": 20.0, "sun_azimuth_deg": 180.0}
    one, same, other = (build_dem_scene(elevation, none, seed, **light) for seed in (1, 1, 2))
    assert len(one.craters) == 0
    np.testing.assert_array_equal(one.radiance[0], same.radiance[0])
    assert one.radiance[0].shape == other.radiance[0].shape


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: read_elevation(p / "none.png"), SourceNotFoundError, "no such elevation model"),
        (lambda p: read_elevation(p / "dem.png"), ConfigError, "carries no scale; give it as"),
        (lambda p: read_elevation(p / "eight.png"), SourceError, "not an elevation model"),
        (lambda p: read_elevation(p / "small.png"), SourceError, "only 20 x 20 px"),
        (lambda p: read_elevation(p / "scrap.png"), SourceError, "not an elevation model"),
        (lambda p: read_catalogue(p / "none.csv"), SourceNotFoundError, "no such crater"),
        (lambda p: read_catalogue(p / "other.csv"), SourceError, "found: x, y"),
        (lambda p: read_catalogue(p / "words.csv"), SourceError, "record 3: not three numbers"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path,
    model: Path,
    make: Callable[[Path], object],
    error: type[RilleError],
    message: str,
) -> None:
    cv2.imwrite(str(tmp_path / "eight.png"), np.zeros((80, 80), np.uint8))
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((20, 20), np.uint16))
    (tmp_path / "scrap.png").write_bytes(b"scrap")
    (tmp_path / "other.csv").write_text("x,y\n1,2\n")
    (tmp_path / "words.csv").write_text("Long,Lat,Diameter (km)\n1,2,3\n1,two,3\n")
    with pytest.raises(error, match=message.replace("(", r"\(")):
        make(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("terrain=dem", "needs path=FILE"),
        ("terrain=dem&path=x&view=rover", "is for sim://moon"),
        ("path=x", "path needs terrain=dem"),
        ("terrain=dem&path=x&metres_per_px=0", "metres_per_px must be a number"),
    ],
)
def test_options_that_contradict_each_other(options: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_source(f"sim://moon?{options}&realtime=0")
