"""The rover's view: geometry, truth and light held against independent reckoning."""

from __future__ import annotations

import hashlib
import math
import time
from typing import Any

import cv2
import numpy as np
import pytest

from rille.frame import CLASSES, Truth
from rille.sim.air import ambient
from rille.sim.detail import gather
from rille.sim.drive import Drive, Loop
from rille.sim.ground import TERRAINS, Ground, build_ground
from rille.sim.lens import Lens, View
from rille.sim.relief import deviation
from rille.sim.rocks import sample_rocks
from rille.sim.rover import Rendering, RoverCamera
from rille.sim.scenario import Scenario, open_simulator
from rille.sim.sensor import CLEAN, TYPICAL, Sensor, SensorModel
from rille.sim.server import RenderProcess
from rille.sim.solids import BOX, Solids, intersect, shadowed, solid
from rille.sim.truth import LABEL_LIMITS, _outline, scene_labels, surface_truth

WIDTH, HEIGHT = 320, 240


@pytest.fixture(scope="module")
def ground() -> Ground:
    return build_ground(5, terrain="crater-field", sun_azimuth_deg=130.0, sun_elevation_deg=9.0)


@pytest.fixture(scope="module")
def lens() -> Lens:
    return Lens(WIDTH, HEIGHT, 60.0, (-0.06, 0.01, 2e-4, -2e-4, 0.0))


@pytest.fixture(scope="module")
def camera(ground: Ground, lens: Lens) -> RoverCamera:
    return RoverCamera(ground, lens, 5)


@pytest.fixture(scope="module")
def view(ground: Ground) -> View:
    place = Drive(ground, ground.loop).view(8.0)
    return View(place.x_m, place.y_m, place.z_m, place.yaw_deg, 16.0, 5.0)


@pytest.fixture(scope="module")
def seen(camera: RoverCamera, view: View) -> Rendering:
    return camera.render(view)


@pytest.fixture(scope="module")
def truth(ground: Ground, lens: Lens, view: View, seen: Rendering) -> Truth:
    return surface_truth(ground, lens, view, seen)


def height(ground: Ground, x: Any, y: Any) -> Any:
    """Height of the finest level, bilinear, by NumPy alone."""
    level = ground.levels[0]
    u, v = (x - level.corner_m) / level.cell_m, (y - level.corner_m) / level.cell_m
    i, j = np.floor(v).astype(int), np.floor(u).astype(int)
    a, b = v - i, u - j
    h = level.height.astype(np.float64)
    top = h[i, j] * (1 - b) + h[i, j + 1] * b
    return top * (1 - a) + (h[i + 1, j] * (1 - b) + h[i + 1, j + 1] * b) * a


def test_ranges_agree_with_a_fine_march(
    ground: Ground, lens: Lens, view: View, seen: Rendering
) -> None:
    """With pitch and roll; ground below 20 m that no rock hides."""
    rows, columns = np.nonzero((seen.range_m < 20) & (seen.body < 0))
    rng = np.random.default_rng(0)
    picked = rng.choice(len(rows), 600, replace=False)
    x, y, z = lens.directions(view, slice(0, HEIGHT))
    steps = np.arange(0.4, 24.0, 0.002)
    errors = []
    for r, c in zip(rows[picked], columns[picked], strict=True):
        flat = math.hypot(x[r, c], y[r, c])
        along = height(ground, view.x_m + steps * x[r, c] / flat, view.y_m + steps * y[r, c] / flat)
        above = view.z_m + steps * z[r, c] / flat - along
        k = int(np.argmax(above <= 0))
        if k:
            errors.append(abs(seen.range_m[r, c] - steps[k]) / steps[k])
    assert len(errors) > 500
    assert np.median(errors) <= 5e-4
    assert np.quantile(errors, 0.99) <= 5e-3


def test_a_pixel_looks_where_a_point_projects(lens: Lens, view: View) -> None:
    """Directions and projection undo each other, distortion, pitch and roll included."""
    x, y, z = lens.directions(view, slice(0, HEIGHT))
    rows, columns = np.array([3, 77, 120, 236]), np.array([5, 300, 160, 17])
    rays = np.stack([x[rows, columns], y[rows, columns], z[rows, columns]], axis=1)
    points = np.array([view.x_m, view.y_m, view.z_m]) + rays.astype(np.float64) * 7.0
    pixels, ahead = lens.project(view, points)
    np.testing.assert_allclose(pixels, np.stack([columns, rows], axis=1), atol=0.02)
    assert (ahead > 0).all()


def test_a_level_camera_sees_the_horizon_in_its_middle() -> None:
    lens = Lens(64, 48, 60.0)
    _, _, z = lens.directions(View(0, 0, 1, 30.0, 0.0, 0.0), slice(0, 48))
    assert (z[23] > 0).all() and (z[24] < 0).all()
    _, _, tilted = lens.directions(View(0, 0, 1, 30.0, 0.0, 10.0), slice(0, 48))
    # Rolled clockwise, the camera's right side looks at the ground.
    assert tilted[24, 60] < 0 < tilted[23, 3]


def test_every_ground_pixel_has_the_class_that_the_outlines_say(
    ground: Ground, seen: Rendering, truth: Truth
) -> None:
    """All outlines tested at 4,000 pixels, without any raster: the masks are exact."""
    assert truth.classes is not None
    bare = np.isfinite(seen.range_m) & (seen.body < 0)
    bare &= truth.classes != CLASSES.index("track")
    rows, columns = np.nonzero(bare & (np.abs(seen.x_m) < 500) & (np.abs(seen.y_m) < 500))
    picked = np.random.default_rng(1).choice(len(rows), 4000, replace=False)
    rows, columns = rows[picked], columns[picked]
    x, y = (v[rows, columns].astype(np.float64) for v in (seen.x_m, seen.y_m))
    craters = ground.labelled
    # Beyond the finest level only craters of its own size class are on the map.
    inside = np.zeros(len(x), bool)
    for k in range(len(craters)):
        near = np.hypot(x - craters.x_m[k], y - craters.y_m[k]) <= craters.reach_m[k]
        if near.any():
            inside[near] |= craters.radii(np.array(k), x[near], y[near]) <= 1
    expected = np.where(inside, CLASSES.index("crater"), CLASSES.index("ground"))
    np.testing.assert_array_equal(truth.classes[rows, columns], expected)
    assert 0.005 < inside.mean() < 0.6


def test_listed_craters_are_those_of_the_mask(truth: Truth, seen: Rendering) -> None:
    assert len(truth.craters) > 5
    assert len(truth.craters) == len(truth.diameters_m) == len(truth.visible)
    assert len(truth.depth_ratios) == len(truth.craters)
    assert min(truth.depth_ratios) >= 0.06
    assert all(0 < v <= 1 for v in truth.visible)


def test_an_ellipse_stands_for_its_outline(
    ground: Ground, lens: Lens, view: View, truth: Truth
) -> None:
    """Of craters on even ground and well in view, the fitted ellipse covers the outline."""
    overlaps: list[float] = []
    for ellipse, diameter in zip(truth.craters, truth.diameters_m, strict=True):
        (k,) = np.nonzero(ground.labelled.diameter_m == diameter)
        outline, _ = lens.project(view, _outline(ground, int(k[0])))
        if ellipse.semi_minor < 1.5 or not (0 < ellipse.x < WIDTH and 0 < ellipse.y < HEIGHT):
            continue
        canvas = np.zeros((2, 4 * HEIGHT, 4 * WIDTH), np.uint8)
        for picture, polygon in ((canvas[0], outline), (canvas[1], ellipse.polygon(96))):
            cv2.fillPoly(picture, [np.rint(polygon * 3 + 160).astype(np.int32)], 1)
        overlaps.append(float((canvas[0] & canvas[1]).sum() / (canvas[0] | canvas[1]).sum()))
    assert len(overlaps) >= 3
    assert np.median(overlaps) >= 0.9


def test_shadow_is_black_and_sky_is_black_on_the_moon(
    seen: Rendering, truth: Truth, ground: Ground
) -> None:
    assert truth.shadow is not None
    hit = np.isfinite(seen.range_m)
    dark = hit & (seen.light == 0)
    # No direct light at all: what is left is the fill, times albedo and a pixel's share of ground.
    assert seen.radiance[dark].max() <= 3.6 * ambient("moon", 9.0)
    lit = hit & (seen.light > 0.9)
    assert np.median(seen.radiance[dark]) / np.median(seen.radiance[lit]) <= 0.05
    assert 0.002 < dark.mean() < 0.6
    assert ground.world == "moon"
    pixels = Sensor(TYPICAL, WIDTH, HEIGHT, 1).expose(seen.radiance, 0)
    sky = pixels[: int(np.argmax(hit.any(axis=1))) - 3]
    assert np.quantile(sky, 0.99) <= 40 and np.median(sky) <= 15
    assert (pixels == 255).mean() <= 0.01


def test_a_body_is_hit_where_geometry_says() -> None:
    """A cube of 2 m, 5 m ahead: depth of its face, and its silhouette in pixels."""
    lens = Lens(161, 121, 60.0)
    view = View(0, 0, 1.0, 0.0, 0.0, 0.0)
    cube = solid(np.array([6.0, 0.0, 1.0]), np.eye(3), np.ones(3), BOX, 1.0)
    x, y, z = lens.directions(view, slice(0, 121))
    rays = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    box = np.array([[0, 0, 160, 120]], np.int32)
    limit = np.full(len(rays), np.inf, np.float32)
    hits = intersect(cube, box, np.array([0, 0, 1], np.float32), rays, 161, limit)
    np.testing.assert_allclose(rays[hits.pixel, 0] * hits.depth, 5.0, rtol=1e-5)
    half = lens.focal_px / 5.0
    expected = (2 * math.floor(half) + 1) ** 2
    assert len(hits.pixel) == pytest.approx(expected, rel=0.03)
    hidden = intersect(
        cube, box, np.array([0, 0, 1], np.float32), rays, 161, np.full_like(limit, 4)
    )
    assert len(hidden.pixel) == 0


def test_the_nearer_body_hides_the_farther(camera: RoverCamera, seen: Rendering) -> None:
    bodies: Solids = camera.ground.solids
    found = np.unique(seen.body[seen.body >= 0])
    assert len(found) > 10
    assert found.max() < len(bodies)


def test_rock_sizes_follow_their_law(ground: Ground) -> None:
    rocks = sample_rocks(
        np.random.default_rng(3),
        400.0,
        (0.1, 3.0),
        per_m2=3e-4,
        slope=2.482,
        craters=ground.craters.pick(np.zeros(0, np.intp)),
        on_rims=0.0,
    )
    d = rocks.diameter_m
    assert len(d) >= 2000
    grid = np.linspace(2.0, 3.0, 501)
    likelihood = [
        len(d) * math.log(q / (0.1**-q - 3.0**-q)) - (q + 1) * np.log(d).sum() for q in grid
    ]
    assert grid[int(np.argmax(likelihood))] == pytest.approx(2.482, abs=0.08)
    expected = 3e-4 * (0.1**-2.482 - 3.0**-2.482) * 400.0**2
    assert abs(len(d) - expected) < 4 * math.sqrt(expected)


def test_relief_is_as_rough_as_its_terrain(ground: Ground) -> None:
    kind = TERRAINS["moon"]["mare"]
    mare = build_ground(2, terrain="mare", sun_elevation_deg=40.0)
    # Craters and tracks add to it; the fractal alone is scaled exactly.
    assert deviation(mare.levels[0].height, 20) == pytest.approx(kind.deviation, rel=0.35)
    rough = deviation(ground.levels[1].height, 4) / deviation(ground.levels[1].height, 1)
    assert 4**0.6 < rough < 4.0


def test_the_way_is_free(ground: Ground) -> None:
    large = ground.rocks.pick(ground.rocks.diameter_m > 0.15)
    away = Loop(5).distance_to(large.x_m, large.y_m)
    assert (away - large.diameter_m / 2).min() > 0.5


def test_the_rover_leans_with_the_ground(ground: Ground) -> None:
    drive = Drive(ground, ground.loop)
    views = [drive.view(s) for s in np.linspace(0, 60, 40)]
    assert np.std([v.roll_deg for v in views]) > 0.2
    for v in views:
        assert v.z_m - ground.height_at(v.x_m, v.y_m) == pytest.approx(1.8, abs=0.25)


def test_a_flat_field_obeys_photon_transfer() -> None:
    """Variance against mean of flat frames: shot noise of one electron each, plus read noise."""
    model = SensorModel(
        psf_px=0, vignette=0, prnu=0, hot_pixels=0, gamma=1.0, full_well=500.0, read_noise=12.0,
        exposure=1.0, bright_level=1.0, dark=0.0,
    )  # fmt: skip
    sensor = Sensor(model, 400, 400, 1)
    for share in (0.2, 0.4, 0.6):
        flat = np.full((400, 400), share, np.float32)
        electrons = sensor.expose(flat, 3).astype(np.float64) * 500.0 / 255
        expected = share * 500.0 + 12.0**2 + (500 / 255) ** 2 / 12
        assert electrons.mean() == pytest.approx(share * 500.0, rel=0.01)
        assert electrons.var() == pytest.approx(expected, rel=0.05)


def test_the_gain_pattern_is_as_strong_as_stated() -> None:
    model = SensorModel(vignette=0.0, prnu=0.02)
    assert Sensor(model, 320, 240, 1).gain.std() == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize(
    "change",
    [
        SensorModel(psf_px=1.5),
        SensorModel(vignette=0.6),
        SensorModel(prnu=0.05),
        SensorModel(noise=False),
        SensorModel(hot_pixels=400),
        SensorModel(dust=12),
        SensorModel(gamma=1.0),
        SensorModel(jpeg_quality=20),
        SensorModel(exposure=0.9),
    ],
    ids=lambda m: next(f for f in m.__dataclass_fields__ if getattr(m, f) != getattr(TYPICAL, f)),
)
def test_every_effect_has_its_own_switch(change: SensorModel, seen: Rendering) -> None:
    usual = Sensor(TYPICAL, WIDTH, HEIGHT, 1).expose(seen.radiance, 0)
    changed = Sensor(change, WIDTH, HEIGHT, 1).expose(seen.radiance, 0)
    assert (usual != changed).mean() > 0.001


def test_a_clean_sensor_only_scales(seen: Rendering) -> None:
    pixels = Sensor(CLEAN, WIDTH, HEIGHT, 1).expose(seen.radiance, 0)
    order = np.argsort(seen.radiance, axis=None)
    assert (np.diff(pixels.ravel()[order].astype(int)) >= 0).all()


def test_motion_smears_along_its_direction() -> None:
    point = np.zeros((41, 41), np.float32)
    point[20, 20] = 1.0
    model = SensorModel(
        psf_px=0, vignette=0, prnu=0, hot_pixels=0, noise=False, gamma=1.0, exposure=1.0
    )
    still = Sensor(model, 41, 41, 1).expose(point, 0)
    moved = Sensor(model, 41, 41, 1).expose(point, 0, (8.0, 0.0))
    assert np.count_nonzero(still) == 1
    rows, columns = np.nonzero(moved)
    assert set(rows) == {20} and columns.max() - columns.min() == pytest.approx(8, abs=1)


def test_scene_labels_leave_a_margin() -> None:
    classes = np.full((100, 100), CLASSES.index("ground"), np.uint8)
    assert set(scene_labels(classes).values()) == {False}
    absent, present = LABEL_LIMITS["crater"]
    for count, expected in ((round(absent * 1e4), False), (50, None), (round(present * 1e4), True)):
        classes[:] = CLASSES.index("ground")
        classes.ravel()[:count] = CLASSES.index("crater")
        assert scene_labels(classes)["crater"] is expected


@pytest.mark.parametrize("world", ["moon", "mars"])
def test_the_same_seed_gives_the_same_view(world: str) -> None:
    def digest(workers: int, seed: int = 3) -> str:
        scenario = Scenario(
            world=world, view="rover", terrain="mare", seed=seed, width=160, height=120
        )
        process = RenderProcess(scenario, workers)
        for _ in range(3):
            pixels, truth, _ = process.next()
        process.close()
        assert truth is not None and truth.classes is not None
        return hashlib.sha256(pixels.tobytes() + truth.classes.tobytes()).hexdigest()

    assert digest(1) == digest(2)
    assert digest(1) != digest(1, seed=4)


def test_mars_has_a_coloured_sky_and_the_moon_has_none() -> None:
    scenario = Scenario(world="mars", view="rover", terrain="mare", width=160, height=120)
    pixels, _ = open_simulator(scenario).frame(0)
    assert pixels.shape == (120, 160, 3)
    red, _, blue = (float(np.median(pixels[:20, :, k])) for k in range(3))
    assert red > 1.15 * blue > 60


def test_tracks_can_be_seen(ground: Ground) -> None:
    """Where wheels have rolled the ground is lower and its slopes are steeper."""
    level = ground.levels[0]
    rut = ground.tracks > 200
    slopes = level.looks[0][:, :, :2]
    assert 0.002 < rut.mean() < 0.03
    assert np.abs(slopes[rut]).mean() > 1.5 * np.abs(slopes[~rut]).mean()


def test_gather_folds_and_wraps() -> None:
    values = np.arange(64, dtype=np.float32).reshape(8, 8, 1)
    columns = np.linspace(0, 7, 1000, dtype=np.float32)
    found = gather(values, columns, np.full(1000, 2, np.float32))
    np.testing.assert_allclose(found[:, 0], 16 + columns, atol=0.05)
    again = gather(values, np.float32([9.0]), np.float32([-6.0]), wrap=True)  # type: ignore[arg-type]
    assert again[0, 0] == values[2, 1, 0]
    assert gather(values, columns[:0], columns[:0]).shape == (0, 1)


def test_it_renders_fast_enough(camera: RoverCamera, ground: Ground) -> None:
    """A generous bound; `rille bench` and the simulator's README give real figures."""
    drive = Drive(ground, ground.loop)
    spent = []
    for k in range(5):
        start = time.perf_counter()
        camera.render(drive.view(k * 0.5))
        spent.append(time.perf_counter() - start)
    assert np.median(spent) < 0.25


def test_a_body_before_the_sun_casts_its_shadow() -> None:
    """A cube of 2 m hovering 4 m up, the Sun 45 degrees high in the west: a square 4 m east."""
    cube = solid(np.array([0.0, 0.0, 4.0]), np.eye(3), np.ones(3), BOX, 1.0)
    x, y = np.meshgrid(np.linspace(-8, 8, 161), np.linspace(-4, 4, 81))
    ground = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1).astype(np.float32)
    sun = np.array([-math.sqrt(0.5), 0.0, math.sqrt(0.5)], np.float32)
    dark = shadowed(cube, ground, sun).reshape(x.shape)
    rows, columns = np.nonzero(dark)
    # Its upper western edge shades 6 m east, its lower eastern one 2 m.
    assert x[0, columns].min() == pytest.approx(2.0, abs=0.11)
    assert x[0, columns].max() == pytest.approx(6.0, abs=0.11)
    assert np.abs(y[rows, 0]).max() == pytest.approx(1.0, abs=0.11)


def test_the_rover_sees_its_own_deck_and_shadow(
    ground: Ground, lens: Lens, camera: RoverCamera
) -> None:
    drive = Drive(ground, ground.loop)
    view = drive.view(8.0)
    bare, own = camera.render(view), camera.render(view, drive.rover(8.0))
    truth = surface_truth(ground, lens, view, own)
    assert truth.classes is not None
    artifact = truth.classes == CLASSES.index("artifact")
    assert artifact[-HEIGHT // 4 :].mean() > 0.1 and not artifact[: HEIGHT // 3].any()
    elsewhere = ~artifact
    assert (own.light[elsewhere] <= bare.light[elsewhere] + 1e-6).all()


def test_a_tour_is_a_drive_and_then_a_descent() -> None:
    scenario = Scenario(view="tour", terrain="mare", width=96, height=64, frames=5)
    tour = open_simulator(scenario)
    truths = [tour.frame(k)[1] for k in range(5)]
    assert [t is not None and t.range_m is not None for t in truths] == [True] * 2 + [False] * 3
