"""Canonical light: turns that are undone to the last pixel, and a Sun that is not trusted blindly.

No bundle of ours was trained in canonical light. The geometry is tested with moon-craters, and the
tracker with a matched filter for pits lit from the left, on drawn pits: it shows the machinery, not
what the light is worth.
"""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rille.budget import Budget
from rille.bundle import Bundle
from rille.bundle.manifest import parse_manifest
from rille.ellipse import Ellipse, draw_ellipses
from rille.errors import ManifestError
from rille.events import EventLog
from rille.light import AZIMUTHS_DEG, Turn, turn_for, wrapped
from rille.network import Network
from rille.pipeline import Pipeline
from rille.preprocess.ops import Letterbox, Resize
from rille.result import Feature, Segmentation
from rille.sources import open_source
from rille.sun import CONTRADICTED, INFERRED, SunTracker
from rille.vehicle import Vehicle

EVERY_TURN = [Turn(mirrored, quarters) for mirrored in (False, True) for quarters in range(4)]
LIGHTS = tuple(AZIMUTHS_DEG)
turns = st.sampled_from(EVERY_TURN)
lengths = st.floats(0.5, 50.0)
ellipses = st.builds(
    lambda x, y, a, b, angle: Ellipse(x, y, max(a, b), min(a, b), angle),
    st.floats(-20, 120), st.floats(-20, 90), lengths, lengths, st.floats(0, 179.999),
)  # fmt: skip


def same(one: Ellipse, other: Ellipse) -> bool:
    """Whether two ellipses are the same but for rounding; the angle is one modulo 180."""
    off = (one.angle_deg - other.angle_deg + 90) % 180 - 90
    a, b = ((e.x, e.y, e.semi_major, e.semi_minor) for e in (one, other))
    return abs(off) < 1e-6 and bool(np.allclose(a, b, rtol=0, atol=1e-9))


@pytest.mark.parametrize("turn", EVERY_TURN)
@pytest.mark.parametrize("shape", [(5, 7), (7, 5, 3)])
def test_turning_and_back_is_nothing(turn: Turn, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    turned = turn.apply(pixels)
    by_hand = np.rot90(pixels[:, ::-1] if turn.mirrored else pixels, -turn.quarters)
    assert np.array_equal(turned, by_hand)
    assert np.array_equal(turn.inverse.apply(turned), pixels)
    into = np.zeros_like(turned)
    assert turn == Turn() or turn.apply(pixels, into) is into
    assert np.array_equal(turn.apply(pixels), into) or turn == Turn()


@given(turns, ellipses)
def test_an_ellipse_comes_back(turn: Turn, ellipse: Ellipse) -> None:
    there = turn.ellipse(ellipse, 101, 67)
    sides = (67, 101) if turn.quarters % 2 else (101, 67)
    assert 0 <= there.angle_deg < 180
    assert same(turn.inverse.ellipse(there, *sides), ellipse)


@given(turns, ellipses)
@settings(max_examples=60)
def test_an_ellipse_goes_where_its_pixels_go(turn: Turn, ellipse: Ellipse) -> None:
    drawn = np.zeros((67, 101), np.uint8)
    draw_ellipses(drawn, [ellipse])
    there = turn.apply(drawn)
    again = np.zeros_like(there)
    draw_ellipses(again, [turn.ellipse(ellipse, 101, 67)])
    assert (there != again).sum() <= 8  # rounding, on the outline alone


@st.composite
def segmentations(draw: st.DrawFn) -> Segmentation:
    """Answers on grids and images of unequal sides, with cells of several network pixels."""
    cell = draw(st.sampled_from([(1.0, 1.0), (2.0, 4.0)]))
    width, height = draw(st.integers(40, 200)), draw(st.integers(40, 200))
    fits = (Resize(width=96, height=64), Letterbox(width=96, height=64))
    geometry = fits[draw(st.integers(0, 1))].geometry(width, height)
    shape = (int(64 / cell[1]), int(96 / cell[0]))
    mask = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 3, shape, np.uint8)
    found = draw(st.lists(ellipses, max_size=3))
    return Segmentation(
        mask=mask,
        geometry=geometry,
        features=tuple(Feature("crater", e, 0.5) for e in found),
        coverage=0.5,
        cell_px=cell,
    )


def there(turn: Turn, found: Segmentation) -> Segmentation:
    """Return an answer as a turned frame would have given it."""
    return turn.inverse.restore(found)


@given(turns, segmentations())
@settings(max_examples=80)
def test_an_answer_comes_back(turn: Turn, found: Segmentation) -> None:
    back = turn.restore(there(turn, found))
    assert np.array_equal(back.mask, found.mask) and back.geometry == found.geometry
    assert back.cell_px == found.cell_px
    for one, other in zip(back.features, found.features, strict=True):
        assert same(one.ellipse, other.ellipse)
    assert back.turned == turn.name


@given(turns, st.integers(40, 200), st.integers(40, 200), st.floats(0, 39), st.floats(0, 39))
@settings(max_examples=60)
def test_geometry_and_points_agree(turn: Turn, width: int, height: int, x: float, y: float) -> None:
    """To the grid and then turned is turned and then to the grid."""
    g = Letterbox(width=96, height=64).geometry(width, height)
    u, v = g.to_network(x, y)
    one = turn.ellipse(Ellipse(u, v, 1, 1), 96, 64)
    point = turn.ellipse(Ellipse(x, y, 1, 1), width, height)
    other = turn.geometry(g, 96, 64).to_network(point.x, point.y)
    assert np.allclose((one.x, one.y), other, atol=1e-9)


@given(st.sampled_from(LIGHTS), st.floats(-360, 720))
def test_the_sun_is_brought_near_its_side(light: str, azimuth: float) -> None:
    turn = turn_for(light, azimuth)
    assert turn.off_deg is not None and abs(turn.off_deg) <= 45.0 + 1e-9
    offs = [wrapped(turn.azimuth(azimuth) - side) for side in AZIMUTHS_DEG[light]]
    assert min(abs(wrapped(off - turn.off_deg)) for off in offs) < 1e-9
    # The azimuth of a turned image is where its bright side is.
    y, x = np.mgrid[:60, :60] - 29.5
    lit = np.cos(np.radians(azimuth)) * x + np.sin(np.radians(azimuth)) * y
    image = turn.apply(np.clip(128 + 2 * lit, 0, 255).astype(np.uint8)).astype(float)
    seen = np.degrees(np.arctan2((image * y).sum(), (image * x).sum()))
    assert abs(wrapped(seen - turn.azimuth(azimuth))) < 1.0


def test_which_turn_is_chosen() -> None:
    named = {a: turn_for("left", a).name for a in (180, 0, 90, 270)}
    assert named == {
        180: "", 0: "mirrored", 90: "turned 90 degrees", 270: "turned 270 degrees",
    }  # fmt: skip
    assert turn_for("up", 90).name == "mirrored, turned 180 degrees"  # upside down, left is left


def test_a_sun_between_two_sides_does_not_flicker() -> None:
    before, seen = None, []
    for azimuth in (134, 137, 134, 131, 128, 124, 128, 131, 134, 137, 141, 146):
        before = turn_for("left", azimuth, before)
        seen.append(before.name)
    assert seen == [*["turned 90 degrees"] * 11, ""]
    assert turn_for("left", 128, Turn()).name == ""


def craters_of(network: Network, pixels: NDArray[np.uint8], turn: Turn) -> Segmentation:
    answer, _ = network.run(turn.apply(pixels))
    assert isinstance(answer, Segmentation)
    return turn.restore(answer)


@pytest.fixture(scope="module")
def from_above() -> NDArray[np.uint8]:
    """A frame of a descent, 640 x 480, the Sun on the left."""
    with open_source("sim://moon?frames=1&realtime=0") as source:
        (frame,) = source
    return frame.pixels


@pytest.mark.parametrize("turn", EVERY_TURN)
def test_a_frame_that_is_turned_for_the_network_gives_what_it_should(
    craters_bundle: Bundle, from_above: NDArray[np.uint8], turn: Turn
) -> None:
    """A frame taken with a turned camera, turned for the network: all comes out turned alike."""
    network = Network.load(craters_bundle)
    straight = craters_of(network, from_above, Turn())
    taken = turn.inverse.apply(from_above)
    found = craters_of(network, taken, turn)
    network.close()
    assert straight.mask.any() and len(straight.features) > 10
    assert np.array_equal(found.in_image(), turn.inverse.apply(straight.in_image()))
    height, width = from_above.shape[:2]
    for one, other in zip(found.features, straight.features, strict=True):
        assert same(one.ellipse, turn.inverse.ellipse(other.ellipse, width, height))
        assert one.score == other.score


@pytest.mark.parametrize("turn", [Turn(True), Turn(True, 2)])
def test_moon_craters_takes_the_sun_from_left_or_right(
    craters_bundle: Bundle, from_above: NDArray[np.uint8], turn: Turn
) -> None:
    network = Network.load(craters_bundle)
    straight, mirrored = (craters_of(network, from_above, t).in_image() for t in (Turn(), turn))
    network.close()
    assert (straight & mirrored).sum() > 0.6 * (straight | mirrored).sum()
    assert (straight & mirrored[:, ::-1]).sum() < 0.4 * (straight | mirrored).sum()


def lit_from_left(pixels: NDArray[np.uint8]) -> Segmentation:
    """Find pits lit from the left by a matched filter: dark towards the Sun, bright away from it.

    It stands for a network trained in canonical light, which we have none of.
    """
    grey = pixels.astype(np.float32)
    y, x = np.mgrid[-12:13, -12:13].astype(np.float32)
    inside = (x * x + y * y <= 144).astype(np.float32)
    match = cv2.matchTemplate(grey, 128 + x * inside, cv2.TM_CCOEFF_NORMED)
    peak = (match == cv2.dilate(match, np.ones((15, 15)))) & (match > 0.35)
    rows, columns = np.nonzero(peak)
    features = [
        Feature("crater", Ellipse(c + 12.0, r + 12.0, 12, 12), float(match[r, c]))
        for r, c in zip(rows, columns, strict=True)
    ]
    height, width = grey.shape
    return Segmentation(
        mask=np.zeros((height, width), np.uint8),
        geometry=Resize(width=width, height=height).geometry(width, height),
        features=tuple(features),
        coverage=0.0,
    )


def drive(
    tracker: SunTracker, pictures: list[NDArray[np.uint8]], told: list[float | None]
) -> list[tuple[Turn, tuple[str, ...], bool]]:
    """Run the tracker as a pipeline would; return turn, flags, and whether it probed."""
    seen = []
    for pixels, azimuth in zip(pictures, told, strict=True):
        plan = tracker.plan(None if azimuth is None else Vehicle(sun_azimuth_deg=azimuth))
        answer = lit_from_left(plan.turn.apply(pixels))
        probed = lit_from_left(plan.probe.apply(pixels)) if plan.probe is not None else None
        seen.append((plan.turn, tracker.judge(plan, answer, probed), probed is not None))
    return seen


@pytest.fixture(scope="module")
def from_the_left() -> list[NDArray[np.uint8]]:
    """Twenty frames of twelve pits each, lit from the left, and as much noise."""
    rng, frames = np.random.default_rng(3), []
    y, x = np.mgrid[:240, :320]
    for _ in range(20):
        light = rng.normal(110.0, 8.0, (240, 320))
        for _ in range(12):
            dx, dy = x - rng.uniform(15, 305), y - rng.uniform(15, 225)
            light += 3.0 * dx * (dx * dx + dy * dy < 100)
        frames.append(np.clip(light, 0, 255).astype(np.uint8))
    return frames


@pytest.fixture(scope="module")
def from_the_right(from_the_left: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    return [np.ascontiguousarray(pixels[:, ::-1]) for pixels in from_the_left]


def test_a_sun_that_is_told_rightly(from_the_right: list[NDArray[np.uint8]]) -> None:
    events = EventLog()
    seen = drive(SunTracker("left", events, every=4), from_the_right, [10.0] * 20)
    assert all(turn.name == "mirrored" and flags == () for turn, flags, _ in seen)
    assert {turn.off_deg for turn, _, _ in seen} == {-10.0}
    assert 4 <= sum(probed for _, _, probed in seen) <= 8
    assert not events.counts


def test_a_sun_that_is_told_wrongly_is_contradicted(
    from_the_right: list[NDArray[np.uint8]],
) -> None:
    events = EventLog()
    tracker = SunTracker("left", events, every=4, patience=5)
    seen = drive(tracker, from_the_right, [180.0] * 20)
    flags = [f for _, f, _ in seen]
    first = flags.index((CONTRADICTED,))
    assert 4 <= first <= 10 and set(flags[first:]) == {(CONTRADICTED,)}
    assert all(turn.name == "mirrored" for turn, _, _ in seen[first + 1 :])
    assert events.counts == {"SUN_CONTRADICTED": 1}
    assert events.recent[0].values == {"told_deg": 180.0, "inferred_deg": 0.0}
    # The vehicle comes to know better.
    seen = drive(tracker, from_the_right, [0.0] * 20)
    assert seen[-1][1] == () and seen[-1][0].name == "mirrored"
    assert events.counts["SUN_CONFIRMED"] == 1


@pytest.mark.parametrize("sides", [2, 4])
def test_a_sun_that_is_not_told_is_inferred(
    from_the_left: list[NDArray[np.uint8]], from_the_right: list[NDArray[np.uint8]], sides: int
) -> None:
    for pictures, name in ((from_the_left, ""), (from_the_right, "mirrored")):
        events = EventLog()
        seen = drive(SunTracker("left", events, sides), pictures, [None] * 20)
        assert all(flags == (INFERRED,) and turn.off_deg is None for turn, flags, _ in seen)
        assert [turn.name for turn, _, _ in seen[-8:]] == [name] * 8
        assert not seen[-1][2]  # settled: no more double work on each frame
        assert events.counts == {"SUN_INFERRED": 1}


def test_a_sun_a_quarter_off_is_found_with_four_sides(
    from_the_left: list[NDArray[np.uint8]],
) -> None:
    down = [np.ascontiguousarray(np.rot90(pixels)) for pixels in from_the_left]
    seen = drive(SunTracker("left", sides=4, patience=3), down, [None] * 20)
    assert seen[-1][0] == turn_for("left", 90.0)


def test_what_was_told_last_is_where_it_is_sought_first(
    from_the_right: list[NDArray[np.uint8]],
) -> None:
    told = [0.0] * 10 + [None] * 10
    seen = drive(SunTracker("left", every=4), from_the_right, told)
    assert all(turn.name == "mirrored" for turn, _, _ in seen)
    assert [flags for _, flags, _ in seen] == [()] * 10 + [(INFERRED,)] * 10


def test_empty_frames_tell_nothing() -> None:
    grey: list[NDArray[np.uint8]] = [np.full((240, 320), 90, np.uint8)] * 30
    events = EventLog()
    seen = drive(SunTracker("left", events, every=2, patience=2), grey, [0.0] * 30)
    assert not events.counts and all(flags == () for _, flags, _ in seen)


def test_a_manifest_may_name_its_light(craters_bundle: Bundle) -> None:
    manifest = craters_bundle.manifest
    assert manifest.light == "horizontal"
    assert '"light"' not in replace(manifest, light="").to_json()
    text = replace(manifest, light="left").to_json().encode()
    assert parse_manifest(text, "manifest").light == "left"
    table = json.loads(text)
    for light in ("West", None, 3):
        table["light"] = light
        with pytest.raises(ManifestError, match="light"):
            parse_manifest(json.dumps(table).encode(), "manifest")


def test_a_pipeline_turns_frames_for_the_light(craters_bundle: Bundle) -> None:
    """Told or not, the Sun below the picture does not keep craters from being found."""
    found: dict[str, list[int]] = {}
    for known in ("1", "0"):
        with (
            open_source(f"sim://moon?frames=14&realtime=0&sun_azimuth_deg=90&vehicle={known}") as s,
            Pipeline(segment=craters_bundle, budget=Budget(frame_ms=60_000)) as pipeline,
        ):
            results = list(pipeline.stream(s))
        turns = [r.segmentation.turned for r in results if r.segmentation is not None]
        found[known] = [len(r.features) for r in results]
        assert all(turns) if known == "1" else (not turns[0] and turns[-1])
        assert all((INFERRED in r.quality) == (known == "0") for r in results)
        # A replay looks again where the live run did, and so turns the same frames.
        with (
            open_source(f"sim://moon?frames=14&realtime=0&sun_azimuth_deg=90&vehicle={known}") as s,
            Pipeline(segment=craters_bundle, budget=Budget(frame_ms=60_000)) as again,
        ):
            for frame, result in zip(s, results, strict=True):
                frame = replace(frame, captured_ns=result.captured_ns)
                replayed = again.replay(frame, result.readings_ns)
                assert replayed.features == result.features
                assert replayed.quality == result.quality
    assert sum(found["0"][-3:]) == sum(found["1"][-3:]) > 2 * sum(found["0"][:3])


def test_moon_craters_needs_the_sun_on_the_left_or_the_right(craters_bundle: Bundle) -> None:
    """What it was trained on. With the Sun below it finds little, until the frame is turned."""
    network = Network.load(craters_bundle)
    tracker = SunTracker("horizontal", patience=3)
    overlaps: dict[str, list[float]] = {"as it is": [], "turned": [], "inferred": []}
    with open_source("sim://moon?frames=8&realtime=0&truth=1&sun_azimuth_deg=90") as source:
        for frame in source:
            assert frame.vehicle is not None and frame.vehicle.sun_azimuth_deg is not None
            assert frame.truth is not None
            plan = tracker.plan(None)
            probed = craters_of(network, frame.pixels, plan.probe) if plan.probe else None
            ways = {
                "as it is": craters_of(network, frame.pixels, Turn()),
                "turned": craters_of(
                    network, frame.pixels, turn_for("horizontal", frame.vehicle.sun_azimuth_deg)
                ),
                "inferred": craters_of(network, frame.pixels, plan.turn),
            }
            assert tracker.judge(plan, ways["inferred"], probed) == (INFERRED,)
            for name, found in ways.items():
                mask, true = found.in_image() > 0, frame.truth.crater_mask > 0
                overlaps[name].append(
                    2 * float((mask & true).sum()) / float(mask.sum() + true.sum())
                )
    network.close()
    assert np.mean(overlaps["as it is"]) < 0.25 and np.mean(overlaps["turned"]) > 0.35
    assert np.mean(overlaps["inferred"][-4:]) > 0.35


@given(st.floats(-720, 720))
def test_an_image_is_left_alone_where_that_is_as_good(azimuth: float) -> None:
    """A network that had its light from both sides gains nothing from a mirror."""
    assert not turn_for("horizontal", azimuth).mirrored
