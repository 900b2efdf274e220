"""What the network is taught decodes to what was labelled."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras", reason="the train extra is not installed")

from rille.bundle.manifest import Decision, LabelEntry, OutputEntry, Variant
from rille.ellipse import Ellipse, draw_ellipses
from rille.postprocess import FeatureDecoder
from rille.preprocess import Resize
from rille.tensor import TensorSpec
from rille_train.batches.photos import sampling_weights
from rille_train.targets import crater_targets

SIDE = 128


def test_targets_decode_to_the_labels() -> None:
    """A network that answered its targets exactly would find every crater in place and size."""
    craters = [
        Ellipse(30, 40, 14, 11, 0.0),
        Ellipse(90, 85, 25, 22, 90.0),
        Ellipse(92, 80, 6, 6),
        Ellipse(60, 20, 5, 4, 0.0),
        Ellipse(121, 64, 20, 20),  # reaches out of the window
    ]
    target = crater_targets(craters, SIDE)
    variant = Variant(
        file="",
        target="keras",
        precision="fp32",
        input=TensorSpec(shape=(1, SIDE, SIDE, 1)),
        outputs={
            "mask": OutputEntry(index=0, tensor=TensorSpec(shape=(1, SIDE, SIDE, 1))),
            "centre": OutputEntry(index=1, tensor=TensorSpec(shape=(1, 64, 64, 1))),
            "size": OutputEntry(index=2, tensor=TensorSpec(shape=(1, 64, 64, 2))),
        },
    )
    decode = FeatureDecoder(
        variant, Decision(feature_threshold=0.5), (LabelEntry(id=0, name="crater"),)
    )
    probability = np.clip(target["centre"], 1e-4, 1 - 1e-4)
    answer = decode(
        {
            "mask": np.where(target["mask"], 5.0, -5.0)[None].astype(np.float32),
            "centre": np.log(probability / (1 - probability))[None].astype(np.float32),
            "size": target["size"][None, :, :, :2],
        },
        Resize(width=SIDE, height=SIDE).geometry(SIDE, SIDE),
    )
    assert len(answer.features) == len(craters)
    for e in craters:
        near = min(answer.features, key=lambda f: np.hypot(f.ellipse.x - e.x, f.ellipse.y - e.y))
        assert (near.ellipse.x, near.ellipse.y) == pytest.approx((e.x, e.y), abs=1.1)
        assert near.ellipse.semi_major == pytest.approx(e.semi_major, rel=0.01)
        assert near.ellipse.semi_minor == pytest.approx(e.semi_minor, rel=0.01)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    draw_ellipses(mask, craters)
    np.testing.assert_array_equal(answer.mask, mask)


def test_a_crater_centred_outside_teaches_the_mask_only() -> None:
    target = crater_targets([Ellipse(-6, 60, 15, 15)], SIDE)
    assert target["mask"].any()
    assert not target["centre"].any() and not target["size"].any()


def test_an_empty_window_teaches_that_there_is_nothing() -> None:
    target = crater_targets([], SIDE)
    assert not any(values.any() for values in target.values())


def test_sampling_evens_classes_and_bursts_out() -> None:
    classes = np.array([0] * 90 + [1] * 10)
    groups = ["burst"] * 81 + [f"single{k}" for k in range(9)] + [f"rare{k}" for k in range(10)]
    even = sampling_weights(classes, groups, class_power=0.0, group_power=0.0)
    assert even.sum() == pytest.approx(1)
    assert even[classes == 0].sum() == pytest.approx(0.5)
    root = sampling_weights(classes, groups, class_power=0.5, group_power=0.5)
    assert root[classes == 0].sum() == pytest.approx(3 / (3 + 1))
    # 81 images of one burst weigh as much together as 9 single ones.
    assert root[:81].sum() == pytest.approx(root[81:90].sum())
    as_is = sampling_weights(classes, groups, class_power=1.0, group_power=0.0)
    np.testing.assert_allclose(as_is, 0.01)
