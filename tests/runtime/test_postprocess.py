"""Planted answers come back out: classes, centres, regions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rille.bundle.manifest import Decision, LabelEntry, OutputEntry, Variant
from rille.ellipse import Ellipse, draw_ellipses
from rille.errors import InferenceError
from rille.postprocess import FeatureDecoder, classify
from rille.preprocess import Letterbox, Resize
from rille.tensor import TensorSpec

SIDE = 128
LABELS = (LabelEntry(id=0, name="crater"),)
SQUARE = Resize(width=SIDE, height=SIDE).geometry(SIDE, SIDE)


def decoder(kind: str = "float32", **decision: Any) -> FeatureDecoder:
    quantised: dict[str, Any] = (
        {} if kind == "float32" else {"dtype": "int8", "scale": 0.06, "zero_point": 20}
    )
    size: dict[str, Any] = (
        {} if kind == "float32" else {"dtype": "int8", "scale": 0.02, "zero_point": 0}
    )
    half = SIDE // 2
    roles = {
        "mask": TensorSpec(shape=(1, SIDE, SIDE, 1), **quantised),
        "centre": TensorSpec(shape=(1, half, half, 1), **quantised),
        "size": TensorSpec(shape=(1, half, half, 2), **size),
    }
    variant = Variant(
        file="m",
        target="tflite",
        precision="int8",
        input=TensorSpec(shape=(1, SIDE, SIDE, 1)),
        outputs={r: OutputEntry(index=i, tensor=t) for i, (r, t) in enumerate(roles.items())},
    )
    return FeatureDecoder(variant, Decision(**decision), LABELS)


def outputs(craters: list[Ellipse], run: FeatureDecoder) -> dict[str, Any]:
    """Draw what a perfect network would answer, in the stored numbers of its outputs."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    draw_ellipses(mask, craters)
    half = SIDE // 2
    rows, columns = np.mgrid[:half, :half]
    centre = np.full((half, half), -6.0)
    size = np.zeros((half, half, 2))
    for e in sorted(craters, key=lambda e: -e.area):
        x, y = (e.x + 0.5) / 2 - 0.5, (e.y + 0.5) / 2 - 0.5
        r2 = (columns - x) ** 2 + (rows - y) ** 2
        spread = max(0.1 * e.diameter, 0.8)
        centre = np.maximum(centre, 4.0 - 10.0 * r2 / (r2 + spread**2))
        wide, high = (
            (e.semi_major, e.semi_minor) if e.angle_deg < 45 else (e.semi_minor, e.semi_major)
        )
        size[r2 <= (0.15 * e.diameter) ** 2 + 1] = np.log2([2 * wide / 16, 2 * high / 16])
    specs = run._specs
    real = {
        "mask": np.where(mask, 5.0, -5.0)[None, :, :, None],
        "centre": centre[None, :, :, None],
        "size": size[None],
    }
    return {role: specs[role].quantize(v.astype(np.float32)) for role, v in real.items()}


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_planted_craters_come_back(kind: str) -> None:
    craters = [
        Ellipse(30.2, 40.7, 12, 12),
        Ellipse(52, 40, 9, 9),  # touches the first
        Ellipse(90, 90, 25, 20, 0.0),
        Ellipse(92, 84, 5, 5),  # lies in the third
    ]
    run = decoder(kind, feature_threshold=0.5)
    found = run(outputs(craters, run), SQUARE).features
    assert len(found) == len(craters)
    for e in craters:
        near = min(found, key=lambda f: np.hypot(f.ellipse.x - e.x, f.ellipse.y - e.y))
        assert (near.ellipse.x, near.ellipse.y) == pytest.approx((e.x, e.y), abs=1.2)
        assert near.ellipse.diameter == pytest.approx(e.diameter, rel=0.04)
    assert [f.score for f in found] == sorted((f.score for f in found), reverse=True)


def test_mask_and_coverage() -> None:
    run = decoder("int8")
    answer = run(outputs([Ellipse(64, 64, 20, 20)], run), SQUARE)
    assert answer.mask.dtype == np.uint8 and set(np.unique(answer.mask)) == {0, 1}
    assert answer.coverage == pytest.approx(np.pi * 400 / SIDE**2, rel=0.02)


def test_features_are_in_source_pixels_and_margins_are_empty() -> None:
    box = Letterbox(width=SIDE, height=SIDE).geometry(640, 320)
    run = decoder(feature_threshold=0.5)
    planted = [Ellipse(64, 64, 10, 10), Ellipse(64, 10, 8, 8)]  # the second lies in the margin
    answer = run(outputs(planted, run), box)
    (feature,) = answer.features
    assert (feature.ellipse.x, feature.ellipse.y) == pytest.approx((322, 162), abs=6)
    assert feature.ellipse.diameter == pytest.approx(100, rel=0.05)
    assert not answer.mask[:32].any() and not answer.mask[96:].any()


def test_limits_on_size_and_number() -> None:
    craters = [Ellipse(20 + 30 * k, 60, 4 + 2 * k, 4 + 2 * k) for k in range(4)]
    run = decoder(feature_threshold=0.5, min_diameter_px=11.0)
    assert len(run(outputs(craters, run), SQUARE).features) == 3
    run = decoder(feature_threshold=0.5, max_features=2)
    assert len(run(outputs(craters, run), SQUARE).features) == 2


def test_an_empty_map_gives_nothing() -> None:
    run = decoder("int8")
    answer = run(outputs([], run), SQUARE)
    assert answer.features == () and answer.coverage == 0.0


def test_thresholds_of_zero_and_one_take_all_and_nothing() -> None:
    run = decoder("int8", mask_threshold=0.0)
    assert run(outputs([], run), SQUARE).coverage == 1.0
    run = decoder("int8", mask_threshold=1.0)
    assert run(outputs([Ellipse(64, 64, 9, 9)], run), SQUARE).coverage == 0.0


@pytest.mark.parametrize("role", ["mask", "centre", "size"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_never_published(role: str, bad: float) -> None:
    run = decoder()
    spoilt = outputs([Ellipse(64, 64, 9, 9)], run)
    spoilt[role][0, 3, 3, 0] = bad
    with pytest.raises(InferenceError, match=f"{role} that is not a finite"):
        run(spoilt, SQUARE)


def region_decoder(**decision: Any) -> FeatureDecoder:
    variant = Variant(
        file="m",
        target="tflite",
        precision="fp32",
        input=TensorSpec(shape=(1, SIDE, SIDE, 1)),
        outputs={"mask": OutputEntry(index=0, tensor=TensorSpec(shape=(1, 64, 64, 1)))},
    )
    return FeatureDecoder(variant, Decision(**decision), LABELS)


@given(
    x=st.floats(40, 88),
    y=st.floats(40, 88),
    major=st.floats(18, 34),
    minor=st.floats(10, 18),
    angle=st.floats(0, 179),
)
@settings(max_examples=40, deadline=None)
def test_a_region_becomes_its_ellipse(
    x: float, y: float, major: float, minor: float, angle: float
) -> None:
    planted = Ellipse(x, y, major, minor, angle)
    mask = np.zeros((64, 64), np.uint8)
    draw_ellipses(mask, [planted.mapped(0.5, 0.5, -0.25, -0.25)])
    logits = np.where(mask, 3.0, -3.0).astype(np.float32)[None, :, :, None]
    answer = region_decoder()({"mask": logits}, SQUARE)
    (feature,) = answer.features
    assert (feature.ellipse.x, feature.ellipse.y) == pytest.approx((x, y), abs=0.7)
    assert feature.ellipse.semi_major == pytest.approx(major, abs=1.0)
    assert feature.ellipse.semi_minor == pytest.approx(minor, abs=1.0)
    assert feature.score == pytest.approx(1 / (1 + np.exp(-3.0)), abs=1e-4)


def test_regions_apart_are_counted_apart() -> None:
    logits = np.full((1, 64, 64, 1), -4.0, np.float32)
    logits[0, 5:12, 5:12] = 4.0
    logits[0, 30:40, 30:36] = 2.0
    answer = region_decoder(feature_threshold=0.9)({"mask": logits}, SQUARE)
    assert len(answer.features) == 1
    assert len(region_decoder(feature_threshold=0.5)({"mask": logits}, SQUARE).features) == 2


def test_classify_is_a_softmax_over_the_temperature() -> None:
    labels = [LabelEntry(id=3, name="a"), LabelEntry(id=7, name="b")]
    logits = np.array([1.0, 2.0], np.float32)
    answer = classify(logits, labels, Decision(temperature=0.5, abstain_below=0.9))
    expected = 1 / (1 + np.exp(-2.0))
    assert answer.probability == pytest.approx(expected, abs=1e-6)
    assert (answer.label, answer.label_id, answer.abstained) == ("b", 7, True)
    assert float(answer.probabilities.sum()) == pytest.approx(1)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=30))
def test_entropy_and_probability_stay_in_range(values: list[float]) -> None:
    labels = [LabelEntry(id=k, name=str(k)) for k in range(len(values))]
    answer = classify(np.array(values, np.float32), labels, Decision())
    assert 0 <= answer.entropy <= 1 + 1e-6
    assert 1 / len(values) - 1e-6 <= answer.probability <= 1 + 1e-6


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_does_not_win_the_argmax(bad: float) -> None:
    labels = [LabelEntry(id=0, name="a"), LabelEntry(id=1, name="b")]
    with pytest.raises(InferenceError, match="not a finite number"):
        classify(np.array([bad, 1.0], np.float32), labels, Decision())
