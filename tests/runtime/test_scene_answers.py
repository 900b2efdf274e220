"""Scenes: class masks and independent labels, from stored numbers to answers and scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rille.bundle.manifest import Decision, LabelEntry, OutputEntry, Variant
from rille.draw import annotate, canvas_size
from rille.errors import InferenceError
from rille.frame import Frame
from rille.metrics import average_precision
from rille.postprocess import FeatureDecoder, decide_labels
from rille.preprocess import Letterbox, Resize
from rille.result import Result, Segmentation, State
from rille.scene_scores import fitted_thresholds, label_report
from rille.tensor import TensorSpec

SIDE = 64
NAMES = ("stone", "crater", "sky")
LABELS = tuple(LabelEntry(id=i, name=name) for i, name in enumerate(NAMES, 1))


def decoder(kind: str = "int8", **decision: Any) -> FeatureDecoder:
    stored: dict[str, Any] = (
        {} if kind == "float32" else {"dtype": "int8", "scale": 0.1, "zero_point": -10}
    )
    output = TensorSpec(shape=(1, SIDE // 2, SIDE // 2, 4), **stored)
    variant = Variant(
        file="m",
        target="tflite",
        precision="int8",
        input=TensorSpec(shape=(1, SIDE, SIDE, 3)),
        outputs={"classes": OutputEntry(index=0, tensor=output)},
    )
    return FeatureDecoder(variant, Decision(**decision), LABELS)


def planted(kind: str = "int8") -> dict[str, Any]:
    """Sky above, two stones and a crater below, in the stored numbers of the network."""
    logits = np.full((SIDE // 2, SIDE // 2, 4), -4.0)
    logits[..., 0] = 2.0
    logits[:8, :, 3] = 5.0
    logits[12:16, 4:8, 1] = 5.0  # 8 x 8 network pixels
    logits[20:22, 20:24, 1] = 5.0
    logits[24:30, 4:16, 2] = 3.0
    if kind == "float32":
        return {"classes": logits[None].astype(np.float32)}
    return {"classes": np.rint(logits / 0.1 - 10).astype(np.int8)[None]}


@pytest.mark.parametrize("kind", ["int8", "float32"])
def test_planted_classes_come_back(kind: str) -> None:
    found = decoder(kind, feature_labels=("stone", "crater"))(
        planted(kind), Resize(width=SIDE, height=SIDE).geometry(128, 64)
    )
    assert found.mask.shape == (32, 32)
    assert set(np.unique(found.mask[:8])) == {3} and found.mask[13, 5] == 1
    assert found.shares == pytest.approx(
        {"stone": (16 + 8) / 1024, "crater": 72 / 1024, "sky": 256 / 1024}
    )
    assert found.coverage == pytest.approx(sum(found.shares.values()))
    labels = sorted(feature.label for feature in found.features)
    assert labels == ["crater", "stone", "stone"]
    stone = next(f for f in found.features if f.label == "stone" and f.ellipse.y < 30)
    # Cells 4 to 7 are network pixels 8 to 15, and twice as many source pixels in width.
    assert (stone.ellipse.x, stone.ellipse.y) == pytest.approx((23.5, 27.5))
    assert stone.ellipse.area == pytest.approx(16 * 8, rel=0.06)
    assert 0.9 < stone.score < 0.96  # softmax of 5, 2, -4, -4


def test_the_mask_in_the_image_is_where_the_cells_are() -> None:
    letterbox = Letterbox(width=SIDE, height=SIDE).geometry(100, 50)
    found = decoder()(planted(), letterbox)
    whole = found.in_image()
    assert whole.shape == (50, 100)
    # Network rows 0 to 15 are letterbox margin: cleared, and not in the image.
    assert not found.mask[:8].any()
    y, x = (float(np.mean(axis)) for axis in np.nonzero(whole[:, :30] == 1))
    assert letterbox.to_network(x, y) == pytest.approx((11.5, 27.5), abs=1.0)


def test_doubtful_regions_are_no_features() -> None:
    square = Resize(width=SIDE, height=SIDE).geometry(SIDE, SIDE)
    assert not decoder(feature_threshold=0.99)(planted(), square).features
    assert len(decoder(min_diameter_px=8.0)(planted(), square).features) == 3  # the sky is one


def test_numbers_that_are_none_are_refused() -> None:
    outputs = planted("float32")
    outputs["classes"][0, 3, 3, 1] = np.nan
    with pytest.raises(InferenceError, match="not a finite number"):
        decoder("float32")(outputs, Resize(width=SIDE, height=SIDE).geometry(SIDE, SIDE))


def test_classes_are_tinted_and_counted() -> None:
    pixels = np.full((480, 640, 3), 100, np.uint8)
    geometry = Resize(width=SIDE, height=SIDE).geometry(640, 480)
    answer = decoder(feature_labels=("stone", "crater"))(planted(), geometry)
    result = Result(
        frame=Frame(pixels=pixels, index=0, captured_ns=0),
        index=0,
        state=State.OK,
        captured_ns=0,
        published_ns=10_000_000,
        deadline_ms=100.0,
        segmentation=answer,
    )
    assert isinstance(answer, Segmentation)
    picture = annotate(result, canvas_size(640, 480)).astype(int)
    stone, ground = picture[14 * 15, 6 * 20], picture[300, 600]
    assert stone[1] - stone[0] > 30 and abs(ground[1] - ground[0]) <= 1
    assert abs(picture[40, 300] - 100).max() <= 1  # the sky is left as it is
    shares = result.to_json()["segmentation"]["shares"]
    assert set(shares) == set(NAMES)


def test_independent_labels_answer_for_themselves() -> None:
    labels = tuple(LabelEntry(id=i, name=n) for i, n in enumerate(("a", "b", "c")))
    logits = np.array([2.0, -1.0, 0.5], np.float32)
    answer = decide_labels(logits, labels, Decision(temperature=2.0, abstain_below=0.6))
    assert answer.present == ("a", "c") and answer.label == "a + c"
    expected = 1 / (1 + np.exp(-logits / 2))
    assert list(answer.labels.values()) == pytest.approx(expected)
    assert answer.probability == pytest.approx(expected[2]) and answer.abstained
    strict = decide_labels(logits, labels, Decision(label_thresholds=(0.95, 0.2, 0.9)))
    assert strict.present == ("b",)
    nothing = decide_labels(np.full(3, -3.0, np.float32), labels, Decision())
    assert nothing.label == "plain" and not nothing.abstained and nothing.entropy < 0.4
    with pytest.raises(InferenceError):
        decide_labels(np.array([np.inf, 0, 0], np.float32), labels, Decision())


def test_label_scores_leave_unclear_cases_out() -> None:
    labels = (LabelEntry(id=1, name="a"), LabelEntry(id=2, name="never"))
    logits = np.array([[3, -3], [1, -3], [-1, -3], [-3, -3], [9, -3]], np.float32)
    truth = np.array([[1, 0], [0, 0], [1, 0], [0, 0], [-1, 0]], np.int8)
    scores, detail = label_report(logits, truth, labels, Decision())
    row = detail["per_label"]["a"]
    assert (row["images"], row["holding"]) == (4, 2)
    assert row["precision"] == row["recall"] == row["f1"] == 0.5
    assert row["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert scores["macro_f1"] == 0.5  # a label that never holds is in no mean


def test_average_precision_of_ties_chance_and_perfection() -> None:
    holds = np.array([True, False] * 500)
    rng = np.random.default_rng(0)
    assert average_precision(holds.astype(np.float32), holds) == 1.0
    assert average_precision(np.zeros(1000, np.float32), holds) == 0.5
    assert average_precision(rng.random(1000).astype(np.float32), holds) == pytest.approx(
        0.5, abs=0.06
    )
    assert average_precision(np.zeros(3, np.float32), np.zeros(3, bool)) == 0.0


def test_thresholds_give_the_highest_f1() -> None:
    rng = np.random.default_rng(1)
    truth = (rng.random((400, 2)) < [0.2, 0.6]).astype(np.int8)
    logits = (truth * 1.5 + rng.normal(0, 1, truth.shape)).astype(np.float32)
    fitted = fitted_thresholds(logits, truth)

    def f1(k: int, threshold: float) -> float:
        said, true = logits[:, k] >= threshold, truth[:, k] == 1
        return float(2 * (said & true).sum() / (said.sum() + true.sum()))

    for k in range(2):
        best = max(f1(k, t) for t in np.linspace(-3, 4, 400))
        assert f1(k, float(fitted[k])) >= best - 1e-9
