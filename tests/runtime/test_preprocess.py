"""Preprocessing: one implementation, exact, the same for training and flight."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rille.errors import ConfigError, ManifestError
from rille.preprocess import Normalize, Preprocessor, Views, normalized, ops_to_json, parse_ops
from rille.tensor import TensorSpec

Entry = dict[str, Any]
RESIZE: Entry = {"op": "resize", "width": 24, "height": 16}
NORMALIZE: Entry = {"op": "normalize", "mean": [127.5], "std": [127.5]}


def make(entries: list[dict[str, Any]], **tensor: Any) -> Preprocessor:
    ops = parse_ops(entries)
    fit = next(e for e in entries if e["op"] in ("resize", "letterbox"))
    channels = 1 if entries[0]["op"] == "gray" else 3
    shape = (1, fit["height"], fit["width"], channels)
    return Preprocessor(ops, TensorSpec(shape=shape, **tensor))


def boxed(side: int) -> list[Entry]:
    return [{"op": "gray"}, {"op": "letterbox", "width": side, "height": side}, NORMALIZE]


def picture(height: int = 40, width: int = 60, channels: int = 3) -> Any:
    rng = np.random.default_rng(3)
    shape = (height, width, channels) if channels == 3 else (height, width)
    return rng.integers(0, 256, shape, dtype=np.uint8)


def test_normalize_is_the_formula() -> None:
    run = make([{"op": "rgb"}, RESIZE, NORMALIZE])
    image = picture(16, 24)
    tensor, _ = run(image)
    assert tensor.shape == (1, 16, 24, 3)
    np.testing.assert_allclose(tensor[0], (image / 127.5) - 1, atol=1e-6)


def test_each_channel_has_its_own_mean() -> None:
    entry = {"op": "normalize", "mean": [10.0, 20.0, 30.0], "std": [1.0, 2.0, 4.0]}
    image = picture(16, 24)
    tensor, _ = make([{"op": "rgb"}, RESIZE, entry])(image)
    np.testing.assert_allclose(tensor[0], (image - [10.0, 20, 30]) / [1.0, 2, 4], atol=1e-5)


def test_standardize_has_no_mean_and_unit_spread() -> None:
    tensor, _ = make([{"op": "gray"}, RESIZE, {"op": "standardize"}])(picture())
    assert abs(float(tensor.mean())) < 1e-5
    assert abs(float(tensor.std()) - 1) < 1e-4


def test_standardize_does_not_amplify_a_flat_image() -> None:
    flat = np.full((40, 60), 80, np.uint8)
    flat[0, 0] = 82
    tensor, _ = make([{"op": "gray"}, RESIZE, {"op": "standardize", "floor": 4.0}])(flat)
    assert float(np.abs(tensor).max()) < 1.0


@given(
    scale=st.floats(0.004, 0.05),
    zero_point=st.integers(-128, 127),
    last=st.sampled_from([NORMALIZE, {"op": "standardize"}]),
)
@settings(max_examples=40, deadline=None)
def test_int8_is_the_float_tensor_quantised(scale: float, zero_point: int, last: Any) -> None:
    """Folding normalisation and quantisation into one table changes no number."""
    entries = [{"op": "gray"}, RESIZE, last]
    spec: Entry = {"dtype": "int8", "scale": scale, "zero_point": zero_point}
    image = picture()
    stored, _ = make(entries, **spec)(image)
    real, _ = make(entries)(image)
    expected = TensorSpec(shape=(1, 16, 24, 1), **spec).quantize(real)
    np.testing.assert_array_equal(stored, expected)


def test_every_grey_level_keeps_a_step_of_its_own() -> None:
    """Pixels scaled to -1..1 lie half way between two steps of the usual int8."""
    run = make(
        [{"op": "gray"}, {"op": "resize", "width": 256, "height": 1}, NORMALIZE],
        dtype="int8",
        scale=0.007843137718737125,
        zero_point=-1,
    )
    levels = np.arange(256, dtype=np.uint8)[None]
    np.testing.assert_array_equal(run(levels)[0].ravel(), np.arange(-128, 128))
    # This shift is done in one go; a table says the same.
    table = run.spec.quantize(Normalize().table(levels))
    np.testing.assert_array_equal(table.ravel(), np.arange(-128, 128))


def test_a_ramp_stays_monotonic() -> None:
    """No wrap-around anywhere: the overflow that ruined the first reference project."""
    ramp = np.tile(np.linspace(0, 255, 600).astype(np.uint8), (40, 1))
    for last in (NORMALIZE, {"op": "standardize"}):
        for spec in ({}, {"dtype": "int8", "scale": 1 / 127, "zero_point": 0}):
            tensor, _ = make([{"op": "gray"}, RESIZE, last], **spec)(ramp)
            assert (np.diff(tensor[0, 8, :, 0].astype(float)) >= 0).all()


def test_red_and_blue_stay_in_place() -> None:
    image = np.zeros((16, 24, 3), np.uint8)
    image[:, :, 0] = 255
    tensor, _ = make([{"op": "rgb"}, RESIZE, NORMALIZE])(image)
    assert (tensor[..., 0] == 1).all() and (tensor[..., 1:] == -1).all()


def test_grey_and_repeated_grey_are_the_same() -> None:
    grey = picture(channels=1)
    run = make([{"op": "rgb"}, RESIZE, NORMALIZE])
    one = run(grey)[0].copy()
    np.testing.assert_array_equal(one, run(np.repeat(grey[:, :, None], 3, axis=2))[0])


def test_letterbox_keeps_the_aspect_and_fills_with_zero() -> None:
    entries: list[Entry] = [
        {"op": "gray"},
        {"op": "letterbox", "width": 32, "height": 32},
        NORMALIZE,
    ]
    spec: Entry = {"dtype": "int8", "scale": 0.01, "zero_point": 17}
    tensor, geometry = make(entries, **spec)(np.full((30, 60), 255, np.uint8))
    assert (geometry.width, geometry.height, geometry.left, geometry.top) == (32, 16, 0, 8)
    assert (tensor[0, :8] == 17).all() and (tensor[0, 24:] == 17).all()
    assert (tensor[0, 8:24] == 117).all()


def test_margins_are_cleared_when_the_shape_changes() -> None:
    entries: list[Entry] = [
        {"op": "gray"},
        {"op": "letterbox", "width": 32, "height": 32},
        NORMALIZE,
    ]
    run = make(entries)
    run(np.full((60, 30), 255, np.uint8))
    tensor, _ = run(np.full((30, 60), 255, np.uint8))
    assert (tensor[0, :8] == 0).all()


@given(width=st.integers(1, 300), height=st.integers(1, 300), x=st.floats(0, 1), y=st.floats(0, 1))
@settings(max_examples=80, deadline=None)
def test_geometry_maps_there_and_back(width: int, height: int, x: float, y: float) -> None:
    for op in parse_ops(
        [{"op": "gray"}, {"op": "letterbox", "width": 64, "height": 48}, NORMALIZE]
    )[1:2]:
        geometry = op.geometry(width, height)  # type: ignore[union-attr]
        point = (x * (width - 1), y * (height - 1))
        back = geometry.to_source(*geometry.to_network(*point))
        np.testing.assert_allclose(back, point, atol=1e-6)


@pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (641, 479), (50, 40), (225, 225)])
def test_a_mark_lands_where_the_geometry_says(size: tuple[int, int]) -> None:
    width, height = size
    image = np.zeros((height, width), np.uint8)
    x, y, r = round(0.7 * width), round(0.3 * height), max(2, width // 30)
    cv2.circle(image, (x, y), r, 255, -1)
    entries: list[Entry] = [
        {"op": "gray"},
        {"op": "letterbox", "width": 96, "height": 96},
        NORMALIZE,
    ]
    tensor, geometry = make(entries)(image)
    weight = np.maximum(tensor[0, :, :, 0] + 1, 0)
    inside = weight[
        geometry.top : geometry.top + geometry.height,
        geometry.left : geometry.left + geometry.width,
    ]
    rows, columns = np.mgrid[: inside.shape[0], : inside.shape[1]]
    found = (
        (inside * columns).sum() / inside.sum() + geometry.left,
        (inside * rows).sum() / inside.sum() + geometry.top,
    )
    np.testing.assert_allclose(found, geometry.to_network(x, y), atol=0.35)


def test_large_images_do_not_alias() -> None:
    """A fine checkerboard averages to grey instead of turning into a coarse one."""
    board = (np.indices((480, 640)).sum(axis=0) % 2 * 255).astype(np.uint8)
    tensor, _ = make([{"op": "gray"}, RESIZE, NORMALIZE])(board)
    assert float(np.abs(tensor).max()) < 0.05


def test_luma_operations_keep_grey_grey() -> None:
    for op in ({"op": "equalize"}, {"op": "clahe", "clip_limit": 2.0, "tiles": 4}):
        tensor, _ = make([{"op": "gray"}, RESIZE, op, NORMALIZE])(picture(channels=1))
        assert np.isfinite(tensor).all()
        tensor, _ = make([{"op": "rgb"}, RESIZE, op, NORMALIZE])(picture())
        assert tensor.shape == (1, 16, 24, 3)


def test_training_windows_use_the_same_numbers() -> None:
    ops = parse_ops([{"op": "gray"}, RESIZE, {"op": "standardize"}])
    run = Preprocessor(ops, TensorSpec(shape=(1, 16, 24, 1)))
    image, geometry = run.fit(picture())
    np.testing.assert_array_equal(normalized(ops[-1], image), run.finish(image, geometry)[0])  # type: ignore[arg-type]


def test_buffers_are_reused_in_steady_state() -> None:
    run = make([{"op": "rgb"}, RESIZE, NORMALIZE])
    first, _ = run(picture())
    second, _ = run(picture())
    assert first is second


@pytest.mark.parametrize("channels", [1, 3])
def test_networks_that_share_views_see_what_each_would_alone(channels: int) -> None:
    entries: list[list[Entry]] = [
        [{"op": colour}, {"op": "resize", "width": width, "height": height}, *even, NORMALIZE]
        for colour in ("gray", "rgb")
        for width, height in ((24, 16), (60, 40), (13, 9))
        for even in ([], [{"op": "equalize"}])
    ]
    early: list[Entry] = [{"op": "gray"}, {"op": "clahe", "tiles": 2}, RESIZE, NORMALIZE]
    runs, alone = ([make(one) for one in (*entries, early)] for _ in range(2))
    views = Views()
    for turn in range(3):
        pixels = picture(40 + turn % 2, 60, channels) + np.uint8(turn)
        views.show(pixels)
        for shared, own in zip(runs, alone, strict=True):
            np.testing.assert_array_equal(shared(views)[0], own(pixels)[0])


def test_views_are_made_once_a_picture() -> None:
    views = Views()
    grey = views.show(picture()).at(1, 0)
    assert views.at(1, 0) is grey
    half = views.at(1, 1)
    assert half.shape == (20, 30) and views.at(1, 1) is half
    other = picture(channels=1)
    assert views.show(other).at(1, 0) is other
    expected = other.reshape(20, 2, 30, 2).astype(int).sum(axis=(1, 3)) / 4
    assert np.abs(views.at(1, 1) - expected).max() <= 0.5


def test_operations_survive_a_round_trip() -> None:
    entries: list[Entry] = [
        {"op": "gray"},
        {"op": "clahe", "clip_limit": 3.0, "tiles": 4},
        RESIZE,
        NORMALIZE,
    ]
    assert parse_ops(ops_to_json(parse_ops(entries))) == parse_ops(entries)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([{"op": "grey"}, RESIZE, NORMALIZE], "did you mean 'gray'"),
        ([RESIZE, NORMALIZE], "first operation must be"),
        ([{"op": "gray"}, RESIZE], "last operation must be"),
        ([{"op": "gray"}, NORMALIZE], "exactly one 'resize'"),
        ([{"op": "gray"}, RESIZE, {"op": "letterbox", "width": 8, "height": 8}, NORMALIZE], "one"),
        ([{"op": "gray"}, RESIZE, {"op": "gray"}, NORMALIZE], "colour comes first"),
        ([{"op": "gray"}, {"op": "resize", "width": 0, "height": 4}, NORMALIZE], "whole number"),
        ([{"op": "gray"}, {"op": "resize", "width": 4}, NORMALIZE], "needs width, height"),
        ([{"op": "gray"}, {"op": "resize", "wide": 4, "height": 4}, NORMALIZE], "no parameter"),
        ([{"op": "gray"}, RESIZE, {"op": "normalize", "std": [0]}], "above 0"),
        ([{"op": "gray"}, RESIZE, {"op": "normalize", "mean": ["x"]}], "must be a number"),
        ([{"op": "gray"}, RESIZE, {"op": "clahe", "tiles": 0}, NORMALIZE], "whole number"),
        ([], "first operation"),
        ([{"op": 7}, RESIZE, NORMALIZE], "no operation"),
    ],
)
def test_nonsense_is_refused(entries: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ManifestError, match=words):
        parse_ops(entries)


def test_shapes_that_disagree_are_refused() -> None:
    ops = parse_ops([{"op": "gray"}, RESIZE, NORMALIZE])
    with pytest.raises(ManifestError, match="the network takes"):
        Preprocessor(ops, TensorSpec(shape=(1, 16, 24, 3)))


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_not_an_image(pixels: Any) -> None:
    with pytest.raises(ConfigError, match="image of shape"):
        make([{"op": "gray"}, RESIZE, NORMALIZE])(pixels)
