"""A mask that also believes in the features found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rille.bundle.manifest import Decision
from rille.ellipse import Ellipse, draw_ellipses
from rille.postprocess.blend import BLEND_FLOOR, Blend
from rille.postprocess.centres import Boxes
from rille.tensor import TensorSpec

FLOAT = TensorSpec(shape=(1, 64, 64, 1))
INT8 = TensorSpec(shape=(1, 64, 64, 1), dtype="int8", scale=0.1, zero_point=5)
HERE = (1.0, 1.0)


def blend(
    spec: TensorSpec, weight: float, threshold: float, cell: tuple[float, float] = HERE
) -> Blend:
    return Blend(spec, Decision(mask_threshold=threshold, mask_from_features=weight), cell)


def boxes(*features: tuple[Ellipse, float]) -> Boxes:
    """Boxes around upright ellipses, each with its score, the surest first."""
    rows = []
    for e, score in sorted(features, key=lambda item: -item[1]):
        halves = (e.semi_major, e.semi_minor) if e.angle_deg == 0 else (e.semi_minor, e.semi_major)
        rows.append((e.x, e.y, 2 * halves[0], 2 * halves[1], score, e.diameter))
    return Boxes(np.array(rows, np.float64).reshape(-1, 6))


def logits(seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(0, 2, (64, 64)).astype(np.float32)


@pytest.mark.parametrize("spec", [FLOAT, INT8])
def test_each_pixel_is_the_weighted_mean_of_both(spec: TensorSpec) -> None:
    """Against the formula, drawn by the exact filler; scores are rounded to 255ths."""
    raw = spec.quantize(logits())
    craters = [
        (Ellipse(20, 22, 12, 8, 90.0), 0.9),
        (Ellipse(30, 24, 10, 10, 0.0), 0.5),
        (Ellipse(42, 40, 11, 6, 0.0), 0.7),
        (Ellipse(50, 50, 9, 5, 90.0), BLEND_FLOOR - 0.01),
    ]
    field = np.zeros((64, 64))
    for ellipse, score in sorted(craters[:3], key=lambda item: item[1]):
        inside = np.zeros((64, 64), np.uint8)
        draw_ellipses(inside, [ellipse])
        field[inside > 0] = score
    p = 1 / (1 + np.exp(-spec.dequantize(raw).astype(np.float64)))
    expected = 0.4 * p + 0.6 * field > 0.35
    mask = blend(spec, 0.6, 0.35)(raw, boxes(*craters))
    assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 1}
    unsure = np.abs(0.4 * p + 0.6 * field - 0.35) < 0.5 / 255
    assert ((mask == expected) | unsure).all() and unsure.mean() < 0.03


def test_without_features_only_the_logits_speak() -> None:
    raw = INT8.quantize(logits(1))
    p = 1 / (1 + np.exp(-INT8.dequantize(raw)))
    mask = blend(INT8, 0.7, 0.2)(raw, boxes())
    assert (mask == (0.3 * p > 0.2)).all()


def test_outlines_are_the_exact_ones_on_every_grid() -> None:
    nothing = np.full((64, 64), -50.0, np.float32)
    for cell, scale in ((HERE, 1.0), ((2.0, 2.0), 2.0)):
        for radius in (0.4, 6.0, 12.0, 24.0):
            circle = Ellipse(32.3 * scale, 31 * scale, radius * scale, radius * scale, 0.0)
            mask = blend(FLOAT, 0.7, 0.3, cell)(nothing, boxes((circle, 1.0)))
            exact = np.zeros((64, 64), np.uint8)
            draw_ellipses(exact, [circle.mapped(1 / scale, 1 / scale, *[0.5 / scale - 0.5] * 2)])
            np.testing.assert_array_equal(mask, exact)


def test_features_beyond_the_edge_are_cut_and_thresholds_have_no_end() -> None:
    everything = np.full((64, 64), 50.0, np.float32)
    crater = Ellipse(-5.1, 70.2, 40, 40, 0.0)
    big = boxes((crater, 1.0))
    assert blend(FLOAT, 0.5, 0.99)(everything, big).any()
    stored = INT8.quantize(everything)
    mask = blend(INT8, 0.5, 0.99)(stored, big)
    inside = np.zeros((64, 64), np.uint8)
    draw_ellipses(inside, [crater])
    np.testing.assert_array_equal(mask, inside)
    assert not blend(INT8, 1.0, 1.0)(stored, big).any()
    np.testing.assert_array_equal(blend(INT8, 1.0, 0.5)(stored, big), inside)
