"""Quicker steps, the same answers to the bit."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the export extra is not installed")

import keras
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from keras import ops

from rille.backends.rearrange import rearranged
from rille.backends.rearrange.graph import KINDS, Graph
from rille.backends.rearrange.tiles import AMX, VECTORS, Tiles
from rille_export import convert

SIDE = 32


@pytest.fixture(autouse=True)
def float_layers() -> None:
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(5)


def images(count: int, shape: tuple[int, ...] = (SIDE, SIDE, 1)) -> list[Any]:
    rng = np.random.default_rng(3)
    # Every other one brighter to the right: both orders are taken.
    ramp = np.linspace(-1, 1, shape[1], dtype=np.float32)[:, None]
    return [
        (rng.normal(0, 0.3, (1, *shape)) + (ramp if k % 2 else -ramp)).astype(np.float32)
        for k in range(count)
    ]


def steps(content: bytes) -> Counter[str]:
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    engine = Interpreter(model_content=content, experimental_op_resolver_type=plain)
    return Counter(str(step["op_name"]) for step in engine._get_ops_details())


def answers(content: bytes, inputs: list[Any], kernels: OpResolverType) -> list[dict[str, Any]]:
    """Return what a network says by role, as stored."""
    form = convert.describe_variant(content, "m", "fp32")
    engine = Interpreter(model_content=content, experimental_op_resolver_type=kernels)
    engine.allocate_tensors()
    places = [output["index"] for output in engine.get_output_details()]
    said = []
    for image in inputs:
        engine.set_tensor(engine.get_input_details()[0]["index"], form.input.quantize(image))
        engine.invoke()
        said.append({role: engine.get_tensor(places[e.index]) for role, e in form.outputs.items()})
    return said


def assert_same(before: bytes, after: bytes, inputs: list[Any]) -> None:
    for kernels in (OpResolverType.AUTO, OpResolverType.BUILTIN_REF):
        pairs = zip(answers(before, inputs, kernels), answers(after, inputs, kernels), strict=True)
        for old, new in pairs:
            assert old.keys() == new.keys()
            for role, values in old.items():
                assert np.array_equal(values, new[role]), (role, kernels)


def facing(axis: int, mirrored_first: bool) -> Any:
    """A network that looks at an image or its mirror image, whichever is darker in front."""
    image = keras.Input((SIDE, SIDE, 1), name="input")
    weights = np.linspace(1, -1, SIDE, dtype=np.float32).reshape(1, 1, SIDE, 1)
    which = ops.mean(image * weights, axis=(1, 2, 3), keepdims=True) > 0.0
    both = [image, ops.flip(image, axis=axis)]
    x = ops.where(which, *(both[::-1] if mirrored_first else both))
    mask = keras.layers.Conv2D(3, 3, padding="same", name="mask")(x)
    half = keras.layers.Conv2D(2, 3, strides=2, padding="same", name="half")(x)
    half = ops.where(which, ops.flip(half, axis=axis), half)
    return keras.Model(
        image, {"mask": mask, "half": half, "as_it_was": ops.flip(image, axis=(1, 2))}
    )


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize(("axis", "mirrored_first"), [(2, False), (2, True), (1, False)])
def test_a_choice_of_mirror_images_fetches_columns(
    axis: int, mirrored_first: bool, precision: str
) -> None:
    model, inputs = facing(axis, mirrored_first), images(6)
    before = convert.to_tflite(model, precision, inputs)
    after = rearranged(before)
    assert steps(before)["REVERSE_V2"] == 3 and not steps(before)["GATHER"]
    # One mirror image is an output of its own and stays.
    assert steps(after)["REVERSE_V2"] == 1 and steps(after)["GATHER"] == 2
    assert steps(after)["TRANSPOSE"] == (4 if axis == 2 else 0)
    if precision == "int8":
        assert_same(before, after, inputs)
    else:  # sums of floats have no order of their own
        said = [answers(content, inputs, OpResolverType.AUTO) for content in (before, after)]
        for old, new in zip(*said, strict=True):
            assert all(np.allclose(old[role], new[role], atol=1e-5) for role in old)
    taken = {bool((image * np.linspace(1, -1, SIDE).reshape(1, 1, SIDE, 1)).mean() > 0)
             for image in inputs}  # fmt: skip
    assert taken == {False, True}


def test_a_choice_between_other_things_stays() -> None:
    image = keras.Input((SIDE, SIDE, 1), name="input")
    which = ops.mean(image, axis=(1, 2, 3), keepdims=True) > 0.0
    other = ops.flip(keras.layers.ReLU(name="cut")(image), axis=2)
    each = ops.where(image > 0.0, image, ops.flip(image, axis=2))  # pixel by pixel
    both = ops.where(which, image, ops.flip(image, axis=(1, 2)))
    mask = ops.where(which, image, other)
    model = keras.Model(image, {"mask": mask, "each": each, "both": both})
    before = convert.to_tflite(model, "int8", images(4))
    assert rearranged(before) is before


def one_layer(layer: Any, channels: int, height: int = SIDE, width: int = SIDE) -> Any:
    image = keras.Input((height, width, channels), name="input")
    return keras.Model(image, {"mask": layer(image)})


def convolution(outputs: int, size: int, stride: int, **how: Any) -> Any:
    return keras.layers.Conv2D(
        outputs,
        size,
        strides=stride,
        bias_initializer="normal",
        activation="relu6",
        **{"padding": "same"} | how,
    )


def enlarging(times: int = 2, interpolation: str = "bilinear") -> Any:
    return keras.layers.UpSampling2D(times, interpolation=interpolation)


FIRST, HEAD, STRIPS = ["SPACE_TO_DEPTH"], ["RESHAPE"] * 2, ["GATHER", "SLICE"]
BOTH = pytest.mark.parametrize("tiles", [AMX, VECTORS], ids=["amx", "vectors"])


@BOTH
@pytest.mark.parametrize(
    ("layer", "channels", "width", "added"),
    [
        (lambda: convolution(5, 3, 2), 1, SIDE, FIRST),
        (lambda: convolution(7, 3, 2), 2, 28, FIRST),
        (lambda: convolution(32, 3, 2), 3, SIDE, FIRST),
        (lambda: convolution(1, 1, 1), 16, SIDE, HEAD),
        (lambda: convolution(2, 1, 1), 5, 12, HEAD),
        (lambda: convolution(6, 1, 1), 24, SIDE, HEAD),
        (lambda: enlarging(), 1, SIDE, STRIPS),
        (lambda: enlarging(), 3, 20, STRIPS),
    ],
)
def test_pixels_stand_in_for_channels(
    layer: Any, channels: int, width: int, added: list[str], tiles: Tiles
) -> None:
    model = one_layer(layer(), channels, width=width)
    assert_rearranged(model, images(6, (SIDE, width, channels)), tiles, added)


@pytest.mark.parametrize(
    ("outputs", "channels", "width"), [(32, 32, 14), (96, 16, SIDE), (24, 96, SIDE), (144, 24, 20)]
)
def test_only_wide_tiles_are_filled_from_middling_layers(
    outputs: int, channels: int, width: int
) -> None:
    model = one_layer(convolution(outputs, 1, 1), channels, width=width)
    inputs = images(6, (SIDE, width, channels))
    assert_rearranged(model, inputs, AMX, HEAD)
    before = convert.to_tflite(model, "int8", inputs)
    assert rearranged(before, VECTORS) is before


@BOTH
def test_of_a_repeated_grey_image_blocks_are_repeated(tiles: Tiles) -> None:
    image = keras.Input((SIDE, SIDE, 1), name="input")
    colours = keras.layers.Concatenate()([image] * 3)
    model = keras.Model(image, {"mask": convolution(32, 3, 2)(colours)})
    after = assert_rearranged(model, images(6), tiles, FIRST)
    graph = Graph(after)
    (joined,) = graph.steps(KINDS.CONCATENATION)
    assert len(set(joined.inputs)) == 1 and graph.shape(joined.inputs[0])[-1] > 1


@BOTH
def test_what_only_looks_like_a_repeated_grey_image_stays(tiles: Tiles) -> None:
    """Two tensors beside one another, and a repeated one that somebody else reads as well."""
    image = keras.Input((SIDE, SIDE, 1), name="input")
    other = keras.layers.AveragePooling2D(3, 1, padding="same")(image)
    mixed = keras.layers.Concatenate()([image, other, image])
    grey = keras.layers.Concatenate()([image] * 3)
    seen = keras.layers.MaxPooling2D(2, name="seen")(grey)
    model = keras.Model(
        image,
        {
            "mask": convolution(32, 3, 2)(mixed),
            "other": convolution(32, 3, 2)(grey),
            "seen": seen,
        },
    )
    after = assert_rearranged(model, images(6), tiles, FIRST * 2)
    assert steps(after)["CONCATENATION"] == 3


def assert_rearranged(model: Any, inputs: list[Any], tiles: Tiles, added: list[str]) -> bytes:
    """Assert that there are other steps and the same, telling answers; return the network."""
    before = convert.to_tflite(model, "int8", inputs)
    after = rearranged(before, tiles)
    more = steps(after) - steps(before)
    assert all(more[name] >= count for name, count in Counter(added).items())
    assert_same(before, after, inputs)
    described = [convert.describe_variant(content, "m", "int8") for content in (before, after)]
    assert described[0] == described[1]
    said = answers(after, inputs, OpResolverType.AUTO)
    assert all(len(np.unique(answer["mask"])) > 20 for answer in said)
    return after


@BOTH
@pytest.mark.parametrize(
    ("layer", "channels", "width"),
    [
        (lambda: convolution(5, 3, 1), 1, SIDE),
        (lambda: convolution(5, 5, 2), 1, SIDE),
        (lambda: convolution(5, 3, 2), 4, SIDE),
        (lambda: convolution(5, 3, 2), 1, SIDE - 1),
        (lambda: convolution(5, 3, 2, padding="valid"), 1, SIDE),
        (lambda: convolution(5, 3, 1, dilation_rate=2), 1, SIDE),
        (lambda: convolution(64, 1, 1), 64, SIDE),
        (lambda: convolution(96, 1, 1), 320, 8),
        (lambda: convolution(3, 1, 1), 8, SIDE - 1),
        (lambda: convolution(1, 1, 1), 8, SIDE - 1),
        (lambda: convolution(4, 1, 1, groups=2), 8, SIDE),
        (lambda: enlarging(3), 1, SIDE),
        (lambda: enlarging(), 8, SIDE),
        (lambda: enlarging(), 1, SIDE - 1),
        (lambda: enlarging(2, "nearest"), 1, SIDE),
    ],
)
def test_other_steps_stay(layer: Any, channels: int, width: int, tiles: Tiles) -> None:
    model, inputs = one_layer(layer(), channels, width=width), images(4, (SIDE, width, channels))
    before = convert.to_tflite(model, "int8", inputs)
    assert rearranged(before, tiles) is before


def test_floats_keep_the_order_of_their_sums() -> None:
    model = one_layer(convolution(5, 3, 2), 1)
    before = convert.to_tflite(model)
    assert rearranged(before) is before
