"""Offsets of class maps: found where they help, and put where they act."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the export extra is not installed")

import keras

from rille.datasets import IGNORED
from rille.preprocess import Letterbox, Resize
from rille_export import offsets


def test_a_class_that_is_half_labelled_gets_a_lower_threshold() -> None:
    """Honest logits of a class labelled in 3 of 10 places: the best offset is well above zero."""
    rng = np.random.default_rng(4)
    seen = rng.random(20_000) < 0.2
    labelled = seen & (rng.random(20_000) < 0.3)
    p = np.where(seen, 0.3, 0.001) * np.exp(rng.normal(0, 0.2, 20_000))
    logits = np.stack([np.zeros(20_000), np.log(p / (1 - p))], axis=1).astype(np.float32)
    truth = labelled.astype(np.uint8)
    assert offsets.macro_dice(logits, truth, {1: 1}) < 0.1
    found = offsets.search_offsets(logits, truth, {1: 1})
    assert found[0] == 0 and 1.0 <= found[1] <= 4.0
    assert offsets.macro_dice(logits + np.array(found), truth, {1: 1}) > 0.45


def test_offsets_are_added_to_what_the_network_says() -> None:
    image = keras.Input((4, 4, 1))
    made = keras.layers.Conv2D(3, 1, name="classes")(image)
    model = keras.Model(image, {"classes": made})
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 1)).astype(np.float32)
    before = np.asarray(model(x)["classes"])
    offsets.add_offsets(model, [0.0, 1.5, -0.5])
    gap = np.asarray(model(x)["classes"]) - before
    np.testing.assert_allclose(gap, np.broadcast_to([0, 1.5, -0.5], gap.shape), atol=1e-6)


def test_offsets_of_labels_make_probabilities_honest() -> None:
    """Logits twice too large and moved by a known amount; one label is never asked."""
    rng = np.random.default_rng(2)
    honest = rng.normal(0, 2, (4000, 3))
    truth = (rng.random((4000, 3)) < 1 / (1 + np.exp(-honest))).astype(np.int8)
    truth[:, 2] = -1
    logits = (2 * honest - [1.0, -2.0, 0.5]).astype(np.float32)
    found = offsets.label_offsets(logits, truth)
    np.testing.assert_allclose(found, [1.0, -2.0, 0.0], atol=0.2)


def test_a_label_that_always_holds_keeps_a_finite_offset() -> None:
    logits = np.random.default_rng(3).normal(0, 1, (50, 2)).astype(np.float32)
    truth = np.stack([np.ones(50), logits[:, 1] > 0.3], axis=1).astype(np.int8)
    found = offsets.label_offsets(logits, truth)
    assert np.isfinite(found).all() and max(map(abs, found)) < 20


@pytest.mark.parametrize("op", [Resize(width=64, height=64), Letterbox(width=64, height=64)])
def test_cells_are_read_where_the_decoder_puts_them(op: Any) -> None:
    """Reading a mask at the cells, and drawing the cells in the image, are inverse."""
    from rille.result import Segmentation

    geometry = op.geometry(100, 50)
    mask = np.zeros((50, 100), np.uint8)
    mask[10:30, 40:80] = 2
    cells = offsets._at_cells(mask, geometry, (64, 64), (32, 32))
    if isinstance(op, Letterbox):
        assert (cells[:8] == IGNORED).all() and (cells[24:] == IGNORED).all()
    answer = Segmentation(
        mask=cells, geometry=geometry, features=(), coverage=0.0, cell_px=(2.0, 2.0)
    )
    assert (answer.in_image() != mask).mean() < 0.05
