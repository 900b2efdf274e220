"""The simulator keeps to the laws it states, and its truth is exact."""

from __future__ import annotations

import hashlib
import math
import os
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rille.sim import Descent, Scene, build_scene
from rille.sim.craters import (
    SURFACE,
    Craters,
    SizeLaw,
    fresh_profile,
    sample_craters,
    stamp_craters,
    worn_depth_shares,
)
from rille.sim.descent import project_ellipse
from rille.sim.light import cast_shadows, shade, shadow_height
from rille.sim.scenario import Scenario, open_simulator
from rille.sim.server import RenderProcess


def test_the_same_seed_gives_the_same_frames(scene: Scene) -> None:
    def digest(made: Scene) -> str:
        pixels, truth = Descent(made, 7, 160, 120, 10).frame(5)
        return hashlib.sha256(pixels.tobytes() + truth.crater_mask.tobytes()).hexdigest()

    assert digest(scene) == digest(build_scene(7))
    assert digest(scene) != digest(build_scene(8))


def test_frames_do_not_depend_on_the_order_they_are_asked_for(descent: Descent) -> None:
    late = descent.frame(30)[0]
    descent.frame(3)
    np.testing.assert_array_equal(descent.frame(30)[0], late)


@pytest.mark.parametrize(
    ("law", "sizes", "side_m"),
    [
        (SizeLaw(per_km2=0.022 * 1000.0**1.9, slope=1.9), (250.0, 20_000.0), 200_000.0),
        (SURFACE, (1.0, 79.0), 500.0),
    ],
)
def test_sizes_follow_the_power_law(
    law: SizeLaw, sizes: tuple[float, float], side_m: float
) -> None:
    """Maximum-likelihood exponent of a truncated power law, by a fine grid."""
    low, high = sizes
    c = sample_craters(np.random.default_rng(1), law, side_m, sizes, 1.0)
    d = c.diameter_m
    assert len(d) > 5000
    grid = np.linspace(1.5, 2.4, 901)
    likelihood = [
        len(d) * math.log(b / (low**-b - high**-b)) - (b + 1) * np.log(d).sum() for b in grid
    ]
    assert grid[int(np.argmax(likelihood))] == pytest.approx(law.slope, abs=0.08)
    assert d.min() >= low and d.max() <= high
    expected = (law.larger(low) - law.larger(high)) * (side_m * 1.06 / 1000) ** 2
    assert abs(len(d) - expected) < 4 * math.sqrt(expected)


def test_the_law_of_sizes_bends_without_a_step() -> None:
    assert SURFACE.larger(80.01) == pytest.approx(SURFACE.larger(79.99), rel=1e-3)
    d = np.array([0.5, 10.0, 80.0, 300.0])
    back = SURFACE.diameter(np.array([SURFACE.larger(v) for v in d]))
    np.testing.assert_allclose(back, d)


def test_a_fresh_crater_has_the_depth_and_rim_of_its_profile() -> None:
    assert fresh_profile(np.array([1.0]))[0] == pytest.approx(0.0368, abs=1e-3)
    depth = fresh_profile(np.linspace(0, 3, 500, dtype=np.float64))
    assert depth.max() - depth.min() == pytest.approx(0.2, abs=0.002)
    assert depth[-1] == pytest.approx(0.0, abs=1e-6)


def one_crater(diameter_m: float, wear: float) -> Craters:
    def column(value: float) -> NDArray[np.float64]:
        return np.array([value])

    return Craters(
        x_m=column(5000.0),
        y_m=column(5000.0),
        diameter_m=column(diameter_m),
        ratio=column(1.0),
        angle_deg=column(0.0),
        wear=column(wear),
        lobes=np.zeros((1, 4)),
    )


@pytest.mark.parametrize("wear", [0.0, 0.1, 0.3])
def test_a_stamped_crater_is_as_deep_as_it_says(wear: float) -> None:
    height = np.zeros((400, 400), np.float32)
    crater = one_crater(3000.0, wear)
    stamp_craters(height, crater, 25.0)
    measured = float(height.max() - height[200, 200]) / 3000.0
    assert measured == pytest.approx(float(crater.depth_ratio[0]), rel=0.02)


def test_wear_only_ever_flattens() -> None:
    shares = worn_depth_shares()
    assert shares[0] == 1.0
    assert (np.diff(shares) < 0).all()
    assert 0.1 < shares[len(shares) // 4] < 0.2  # the steady state
    assert shares[-1] < 0.04  # ghosts


@pytest.mark.parametrize("azimuth", [0.0, 90.0, 180.0, 270.0])
@pytest.mark.parametrize("elevation", [12.0, 20.0, 40.0])
def test_a_shadow_ends_where_height_over_tangent_says(azimuth: float, elevation: float) -> None:
    height = np.zeros((301, 301), np.float32)
    height[148:153, 148:153] = 40.0
    light = cast_shadows(height, 4.0, azimuth, elevation)
    # Walk from the block away from the Sun.
    dx = -round(math.cos(math.radians(azimuth)))
    dy = -round(math.sin(math.radians(azimuth)))
    line = np.array([light[150 + dy * k, 150 + dx * k] for k in range(3, 150)])
    tip = 3 + int(np.argmax(line > 0.5)) - 2  # cells beyond the block's edge
    expected = 40.0 / math.tan(math.radians(elevation)) / 4.0
    assert tip == pytest.approx(expected, abs=1.5)


def test_the_doubling_sweep_agrees_with_a_march() -> None:
    rng = np.random.default_rng(2)
    height = (rng.standard_normal((64, 64)) * 20).astype(np.float32)
    elevation, cell = 25.0, 10.0
    swept = shadow_height(height, cell, 180.0, elevation)
    drop = math.tan(math.radians(elevation)) * cell
    marched = np.full_like(height, -1e6)
    for k in range(1, 64):
        marched[:, k:] = np.maximum(marched[:, k:], height[:, :-k] - k * drop)
    shadow, expected = height < swept, height < marched
    both, either = (shadow & expected).sum(), (shadow | expected).sum()
    assert both / either > 0.95


def test_the_side_facing_the_sun_is_the_bright_one() -> None:
    rows, columns = np.mgrid[:100, :100]
    hill = (60 * np.exp(-((columns - 50) ** 2 + (rows - 50) ** 2) / 300)).astype(np.float32)
    light = shade(hill, 10.0, 180.0, 30.0)  # the Sun stands towards -x
    assert light[50, 40] > light[50, 60]


def test_shadows_on_the_moon_are_black(scene: Scene) -> None:
    lit = scene.radiance[0]
    dark = np.percentile(lit, 0.02)
    assert dark / np.median(lit) < 0.05


def test_projected_ellipses_are_exact(descent: Descent) -> None:
    """Points on the ground ellipse land on the image ellipse."""
    project = descent.ground_to_image(descent.pose(20))
    x, y, major, minor, angle = 52_000.0, 50_000.0, 3000.0, 2700.0, 0.6
    image = project_ellipse(project, x, y, major, minor, angle)
    turn = np.linspace(0, 2 * np.pi, 90)
    ground = np.stack(
        [
            x + major * np.cos(turn) * math.cos(angle) - minor * np.sin(turn) * math.sin(angle),
            y + major * np.cos(turn) * math.sin(angle) + minor * np.sin(turn) * math.cos(angle),
            np.ones_like(turn),
        ]
    )
    points = project @ ground
    px, py = points[0] / points[2] - image.x, points[1] / points[2] - image.y
    c, s = math.cos(math.radians(image.angle_deg)), math.sin(math.radians(image.angle_deg))
    along, across = (px * c + py * s) / image.semi_major, (py * c - px * s) / image.semi_minor
    np.testing.assert_allclose(along**2 + across**2, 1.0, atol=1e-4)


def test_the_mask_is_the_union_of_the_listed_craters(descent: Descent) -> None:
    _, truth = descent.frame(10)
    rows, columns = np.mgrid[: descent.height, : descent.width]
    inside = np.zeros((descent.height, descent.width), bool)
    for e in truth.craters:
        c, s = math.cos(math.radians(e.angle_deg)), math.sin(math.radians(e.angle_deg))
        dx, dy = columns - e.x, rows - e.y
        u, v = (dx * c + dy * s) / e.semi_major, (dy * c - dx * s) / e.semi_minor
        inside |= u * u + v * v <= 1.0
    np.testing.assert_array_equal(inside, truth.crater_mask > 0)
    assert len(truth.craters) == len(truth.diameters_m) > 10


def test_craters_grow_as_the_camera_comes_down(descent: Descent) -> None:
    first, last = descent.frame(0)[1], descent.frame(descent.frames - 1)[1]
    assert first.metres_per_px > 2.5 * last.metres_per_px
    for truth in (first, last):
        for e, d in list(zip(truth.craters, truth.diameters_m, strict=True))[:20]:
            assert e.diameter == pytest.approx(d / truth.metres_per_px, rel=0.1)


def test_exposure_uses_the_range_without_clipping_it(descent: Descent) -> None:
    for index in (0, 20, 39):
        pixels, _ = descent.frame(index)
        assert np.percentile(pixels, 99) > 170
        assert (pixels == 255).mean() < 0.01


def test_noise_grows_with_the_root_of_light(scene: Scene) -> None:
    """Photon transfer: variance rises linearly with the mean over frames of one pose."""
    made = Descent(scene, 7, 160, 120, 10)
    still = made._sample(made.ground_to_image(made.pose(0)), 300.0)
    stack = np.stack([made._sensor.expose(still, k).astype(np.float64) for k in range(60)])
    mean, variance = stack.mean(0).ravel(), stack.var(0, ddof=1).ravel() - 1 / 12
    order = np.argsort(mean)
    groups = np.array_split(order, 12)
    x = np.array([mean[g].mean() for g in groups])
    y = np.array([variance[g].mean() for g in groups])
    slope, _ = np.polyfit(x, y, 1)
    assert slope == pytest.approx(255 / 20_000, rel=0.1)
    assert np.corrcoef(x, y)[0, 1] > 0.98


def test_it_is_fast_enough_to_stream() -> None:
    """Generous bounds: a loaded machine must pass too."""
    start = time.perf_counter()
    made = Descent(build_scene(5), 5, 640, 480, 20)
    assert time.perf_counter() - start < 6.0
    start = time.perf_counter()
    for index in range(5):
        made.frame(index)
    assert (time.perf_counter() - start) / 5 < 0.25


@pytest.mark.parametrize("tilt", [0.0, 20.0, 45.0])
def test_a_tilted_view_stays_over_its_scene(scene: Scene, tilt: float) -> None:
    """The ground under all corners lies inside the map, and distance grows towards the top."""
    descent = Descent(scene, 7, 320, 240, 40, tilt_deg=tilt)
    for index in (0, 20, 39):
        back = np.linalg.inv(descent.ground_to_image(descent.pose(index)))
        corners = back @ np.array([[0, 319, 0, 319], [0, 0, 239, 239], [1, 1, 1, 1.0]])
        x, y = corners[:2] / corners[2]
        slack = 0.12 * scene.side_m if tilt > 30 else 0.02 * scene.side_m
        assert min(x.min(), y.min()) > -slack
        assert max(x.max(), y.max()) < scene.side_m + slack
        top, bottom = math.dist((x[0], y[0]), (x[1], y[1])), math.dist((x[2], y[2]), (x[3], y[3]))
        assert (top / bottom > 1.15) == (tilt >= 20.0)


def test_a_descent_to_mars_is_in_colour() -> None:
    scenario = Scenario(world="mars", width=64, height=48, frames=3, truth=False)
    pixels, truth = open_simulator(scenario).frame(1)
    assert pixels.shape == (48, 64, 3) and truth is None
    assert pixels[..., 0].mean() > 1.2 * pixels[..., 2].mean()


def test_what_renders_gives_way_to_what_is_tested() -> None:
    """A real camera takes no processor from the networks."""
    process = RenderProcess(Scenario(width=96, height=64, frames=400), workers=2)
    process.next()
    parent = process._child.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    here = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, parent) == here
    assert [os.getpriority(os.PRIO_PROCESS, int(pid)) - here for pid in children] == [5, 5]
    process.close()
