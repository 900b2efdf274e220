"""Tuning for int8: the student is the network, and learns to answer as the float network did."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the export extra is not installed")

import keras

from rille.backends.litert import LiteRtBackend
from rille_export import convert, tune
from rille_export.flat import flattened
from rille_train.models.application import application_classifier
from rille_train.models.crater_unet import crater_unet
from rille_train.models.scene_unet import scene_unet


def stirred(model: Any, seed: int = 0) -> Any:
    """Give every batch normalisation statistics of its own."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            n = int(layer.gamma.shape[0])
            layer.set_weights(
                [rng.uniform(0.5, 1.5, n), *rng.normal(0, 0.2, (2, n)), rng.uniform(0.5, 2, n)]
            )
    return model


def images(model: Any, count: int, seed: int = 1) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 1, (1, *model.input_shape[1:])).astype(np.float32) for _ in range(count)]


def small(seed: int = 3) -> Any:
    """Every kind of layer that is folded, with weights that int8 holds badly."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((16, 16, 3), name="input")
    x = image
    for width in (8, 16, 16):
        x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(x))
        x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU(6.0)(x))
    model = keras.Model(image, {"logits": keras.layers.Dense(3, name="logits")(x)})
    rng = np.random.default_rng(seed + 2)
    for layer in model.layers:
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            kernel = layer.get_weights()[0]
            # One tap far larger than the rest leaves few of the 255 steps for them.
            kernel[1, 1] *= rng.uniform(20, 60, kernel.shape[2:])
            layer.set_weights([kernel])
    return stirred(model, seed + 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "craters", "scenes"])
def test_folding_changes_nothing(name: str) -> None:
    keras.config.set_dtype_policy("float32")
    if name == "small":
        model = small()
    elif name == "craters":
        model = stirred(crater_unet((64, 64, 1), (4, 8), True))
    else:
        model = stirred(scene_unet((64, 64, 3), 3, (4, 6, 8, 8)))
    if "light" in model.output:
        outputs = {role: t for role, t in model.output.items() if role != "light"}
        model = keras.Model(model.input, outputs)
    plain = tune.rebuilt(model, None)
    assert not any(isinstance(x, keras.layers.BatchNormalization) for x in plain.layers)
    for x in images(model, 3):
        before, after = model.predict_on_batch(x), plain.predict_on_batch(x)
        for role in before:
            np.testing.assert_allclose(
                after[role], before[role], atol=2e-4 * np.abs(before[role]).max()
            )


def in_int8(model: Any, shown: list[Any], asked: list[Any], role: str = "logits") -> list[Any]:
    """Return what the converted network answers."""
    content = convert.to_tflite(model, "int8", shown)
    variant = convert.describe_variant(content, "model.int8.tflite", "int8")
    backend, taken = LiteRtBackend(content, variant, threads=1), variant.input
    answers = []
    for x in asked:
        stored = np.clip(np.round(x / taken.scale) + taken.zero_point, -128, 127).astype(np.int8)
        answers.append(variant.outputs[role].tensor.dequantize(backend.infer(stored)[role]))
    return answers


def gap(here: list[Any], there: list[Any]) -> float:
    return float(np.square(np.array(here) - np.array(there)).mean())


@pytest.mark.slow
def test_the_student_rounds_as_the_converted_network_does() -> None:
    """Against the converter's own arithmetic: what is left is far less than what rounding costs."""
    keras.config.set_dtype_policy("float32")
    model = small()
    seen = images(model, 40)
    student = tune.rebuilt(model, tune._ranges(model, seen))
    answers = in_int8(model, seen, seen)
    exact, rounded = ([m.predict_on_batch(x)["logits"] for x in seen] for m in (model, student))
    assert gap(answers, rounded) < 0.35 * gap(answers, exact)


@pytest.mark.slow
def test_tuning_brings_int8_closer_to_float_on_images_not_shown() -> None:
    """Several networks: one alone can stand or fall with the last bits of a processor."""
    keras.config.set_dtype_policy("float32")
    before, after = [], []
    for seed in (3, 4, 5, 6, 7):
        model = small(seed)
        shown, fresh = images(model, 60), images(model, 40, seed=9)
        said: list[str] = []
        tuned = tune.tuned(model, shown, tune.STEPS, said.append)
        assert len(said) == 2
        exact = [model.predict_on_batch(x)["logits"] for x in fresh]
        before.append(gap(in_int8(model, shown, fresh), exact))
        after.append(gap(in_int8(tuned, shown, fresh), exact))
    shares = np.array(after) / before
    assert shares[0] < 0.8
    assert shares.max() < 1.0
    assert shares.mean() < 0.6


@pytest.mark.slow
def test_tuning_twice_gives_the_same_network() -> None:
    keras.config.set_dtype_policy("float32")
    model = small()
    shown = images(model, 60)
    one, two = (tune.tuned(model, shown, 30, lambda line: None) for _ in range(2))
    for first, second in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(first, second, atol=1e-5)


@pytest.mark.slow
def test_networks_of_maps_are_tuned() -> None:
    """Several outputs, each a map of its own size."""
    keras.config.set_dtype_policy("float32")
    model = craters(light=False)
    shown, fresh = images(model, 40), images(model, 8, seed=5)
    tuned = tune.tuned(model, shown, 60, lambda line: None)
    assert set(tuned.output) == {"mask", "centre", "size"}
    for role in ("mask", "centre"):
        exact = [model.predict_on_batch(x)[role] for x in fresh]
        before, after = (gap(in_int8(m, shown, fresh, role), exact) for m in (model, tuned))
        assert after < before


@pytest.mark.slow
def test_a_network_that_decides_inside_is_tuned_without_a_warning() -> None:
    """No gradient passes through the question where the Sun stands."""
    keras.config.set_dtype_policy("float32")
    model = craters(light=True)
    tuned = tune.tuned(model, images(model, 8), 2, lambda line: None)
    assert set(tuned.output) == {"mask", "centre", "size"}


def craters(*, light: bool) -> Any:
    """A small crater network as it flies."""
    keras.utils.set_random_seed(3)
    model = stirred(crater_unet((64, 64, 1), (4, 8), light))
    return keras.Model(model.input, {k: v for k, v in model.output.items() if k != "light"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "head", "channels"),
    [("MobileNetV3Small", "plain", 1), ("EfficientNetB0", "batchnorm-dropout", 3)],
)
def test_networks_inside_networks_are_tuned_as_one(base: str, head: str, channels: int) -> None:
    """Activations inside convolutions, squeeze and excitation, normalisation on its own."""
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(2)
    model = application_classifier(
        (64, 64, channels), 3, base=base, head=head, dropout=0.2, fixed=True
    )
    stirred(model.get_layer("base"))
    stirred(model)
    shown = [x * 40 + 120 for x in images(model, 16)]
    flat = flattened(model)
    assert not any(isinstance(layer, keras.Model) for layer in flat.layers)
    plain = tune.rebuilt(flat, None)
    for x in shown[:3]:
        exact = model.predict_on_batch(x)["logits"]
        for other in (flat, plain):
            answer = other.predict_on_batch(x)["logits"]
            np.testing.assert_allclose(answer, exact, atol=2e-3 * np.abs(exact).max())
    weights = [w.copy() for w in model.get_weights()]
    tuned = tune.tuned(model, shown, 3, lambda line: None)
    assert tuned.predict_on_batch(shown[0])["logits"].shape == (1, 3)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
