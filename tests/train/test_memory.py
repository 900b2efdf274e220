"""Too little memory is said before it is too late, with the batch that would fit."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("keras", reason="the train extra is not installed")

import keras

from rille.errors import ConfigError
from rille_train.memory import activation_bytes, available, check_memory, explained


def network() -> keras.Model:
    image = keras.Input((64, 64, 1))
    x = keras.layers.Conv2D(8, 3, padding="same", dtype="float32")(image)
    inner = keras.Model(image, {"x": x})
    return keras.Model(image, keras.layers.Flatten(dtype="float32")(inner(image)["x"]))


def test_outputs_of_all_layers_are_counted_nested_ones_too() -> None:
    pixels = 64 * 64
    # Two inputs, the convolution inside, and its flattened copy.
    assert activation_bytes(network()) == 4 * (2 * pixels + 8 * pixels + 8 * pixels)


def test_the_batch_that_would_fit_fits() -> None:
    model, free = network(), 50_000_000
    check_memory(model, 8, free)
    with pytest.raises(ConfigError, match=r"a batch of 4096 needs about 1\.8 GB") as caught:
        check_memory(model, 4096, free)
    found = re.search(r"fit.batch=(\d+) would fit", str(caught.value))
    assert found is not None
    check_memory(model, int(found[1]), free)
    with pytest.raises(ConfigError, match="too little memory"):
        check_memory(model, int(found[1]) + 1, free)
    with pytest.raises(ConfigError, match="not even one image"):
        check_memory(model, 1, 10_000)


def test_what_is_free_here_is_known() -> None:
    free = available()
    assert free is None or free > 1_000_000


def test_a_framework_that_runs_out_is_explained() -> None:
    """A real allocation that no machine can make."""
    with pytest.raises(ConfigError, match=r"batches of 32; --set fit.batch=16"), explained(32):
        keras.ops.ones((1 << 45,))
    with pytest.raises(ZeroDivisionError), explained(32):
        raise ZeroDivisionError
