"""Export: nothing is lost silently, and what is refused says why."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
pytest.importorskip("tensorflow", reason="the export extra is not installed")

import keras
from tests.export.tiny_run import quiet, tiny_model, write_run

from rille.backends import open_backend
from rille.backends.anatomy import anatomy
from rille.bundle import load_bundle
from rille.bundle.manifest import Decision
from rille.datasets import ImageSample, MslDataset
from rille.errors import BundleError, CheckFailedError, DatasetError
from rille.evaluate import Evaluation
from rille.metrics import ObjectCounts
from rille.postprocess.classification import softmax
from rille_export import calibration, convert
from rille_export.assemble import ExportOptions, export
from rille_export.decide import abstention_threshold, fit_decision, fit_temperature
from rille_export.parity import compare
from rille_export.run_folder import read_run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_from_keras_to_a_bundle_that_answers_right(tmp_path: Path, msl_set: Path) -> None:
    run = write_run(tmp_path / "run", tiny_model())
    out = tmp_path / "bundle"
    forms = ("tflite-int8", "tflite-fp32")
    bundle, parities = export(run, msl_set, out, ExportOptions(targets=forms), quiet)
    assert list(parities) == list(forms)
    assert parities["tflite-int8"].after["accuracy"] == 1.0
    assert parities["tflite-int8"].agreement == 1.0
    assert bundle.digest == load_bundle(out).digest
    manifest = bundle.manifest
    assert manifest.variants["tflite-int8"].input.dtype == "int8"
    assert manifest.variants["tflite-fp32"].input.dtype == "float32"
    assert manifest.provenance["calibration"]["images"] == 24
    assert manifest.provenance["forced"] is False
    assert manifest.decision.temperature != 1.0
    assert manifest.metrics["selected_on_this_split"] == ["temperature", "abstain_below"]
    assert "rille train tiny" in bundle.files["MODEL_CARD.md"].decode()


def test_a_network_that_quantises_badly_writes_no_bundle(tmp_path: Path, msl_set: Path) -> None:
    """One huge, useless activation takes all 256 steps; the float network is still right."""
    model = tiny_model()
    keras.config.set_dtype_policy("float32")
    image = keras.Input((32, 32, 3), name="input")
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    wide = keras.layers.Dense(4, name="wide")(pooled)
    logits = keras.layers.Dense(3, name="logits")(wide)
    model = keras.Model(image, {"logits": logits}, name="tiny")
    kernel = np.zeros((3, 4), np.float32)
    kernel[:, :3] = np.eye(3)
    kernel[:, 3] = (900.0, 800.0, 700.0)
    model.layers[2].set_weights([kernel, np.zeros(4, np.float32)])
    last = np.zeros((4, 3), np.float32)
    last[:3] = 6 * np.eye(3)
    model.layers[3].set_weights([last, np.zeros(3, np.float32)])
    run = write_run(tmp_path / "run", model)
    out = tmp_path / "bundle"
    with pytest.raises(CheckFailedError, match=r"too much.*int8: accuracy falls") as caught:
        export(run, msl_set, out, ExportOptions(), quiet)
    (blamed,) = [line for line in str(caught.value).splitlines() if "rounding noise" in line]
    assert re.search(r"in int8: (the output|logits|wide) -?\d+ dB", blamed)
    assert not out.exists()
    bundle, parities = export(run, msl_set, out, ExportOptions(force=True), quiet)
    assert bundle.manifest.provenance["forced"] is True
    failures = [f"tflite-int8: {why}" for why in parities["tflite-int8"].failures]
    assert bundle.manifest.provenance["parity_failures"] == failures != []


def test_an_earlier_bundle_survives_a_failed_export(tmp_path: Path, msl_set: Path) -> None:
    run = write_run(tmp_path / "run", tiny_model())
    out = tmp_path / "bundle"
    before, _ = export(run, msl_set, out, ExportOptions(), quiet)
    (run / "model.keras").write_bytes(b"scrap")
    with pytest.raises(BundleError, match="cannot be loaded as a Keras model"):
        export(run, msl_set, out, ExportOptions(), quiet)
    assert load_bundle(out).digest == before.digest


def test_a_model_that_carries_code_is_refused(tmp_path: Path) -> None:
    image = keras.Input((4,))
    model = keras.Model(image, {"logits": keras.layers.Lambda(lambda x: x * 2)(image)})
    model.save(tmp_path / "model.keras")
    with pytest.raises(BundleError, match="cannot be loaded as a Keras model"):
        convert.load_model(tmp_path / "model.keras")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, bad: float) -> None:
    model = tiny_model()
    kernel = 6 * np.eye(3, dtype=np.float32)
    kernel[1, 1] = bad
    model.get_layer("logits").set_weights([kernel, np.zeros(3, np.float32)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(BundleError, match="a weight that is not finite"):
        convert.load_model(tmp_path / "model.keras")


def test_an_int8_network_with_float_parts_is_refused() -> None:
    content = convert.to_tflite(tiny_model())
    convert.check_operations(content, integer=False)
    with pytest.raises(BundleError, match=r"MEAN works on floats; allow it .*--allow-float MEAN"):
        convert.check_operations(content, integer=True)
    convert.check_operations(content, integer=True, allow_float=named(content))


def named(content: bytes) -> list[str]:
    """The operations of a network."""
    return list(anatomy(content).operations)


def test_the_converted_network_is_the_same_network() -> None:
    model = tiny_model()
    content = convert.to_tflite(model)
    rng = np.random.default_rng(0)
    samples = [rng.normal(size=(1, 32, 32, 3)).astype(np.float32) for _ in range(3)]
    variant = convert.describe_variant(content, "m.tflite", "fp32")
    assert convert.largest_gap(model, open_backend(content, variant, threads=1), samples) < 1e-5
    assert variant.outputs["logits"].tensor.shape == (1, 3)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda run: (run / "model.keras").unlink(), "not a finished training run"),
        (lambda run: (run / "contract.json").unlink(), "not a finished training run"),
        (lambda run: (run / "contract.json").write_text("{"), "not valid JSON"),
        (lambda run: (run / "contract.json").write_text("{}"), "lacks the key 'contract'"),
    ],
)
def test_run_folders_that_are_none(
    tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    run = write_run(tmp_path / "run", tiny_model())
    spoil(run)
    with pytest.raises(BundleError, match=words):
        read_run(run)


def test_the_temperature_is_recovered() -> None:
    """Labels drawn from softmax(logits / 2.5) ask for a temperature of 2.5."""
    rng = np.random.default_rng(3)
    logits = (rng.normal(size=(20_000, 6)) * 5).astype(np.float32)
    p = softmax(logits, 2.5)
    truth = (p.cumsum(axis=1) > rng.random((len(p), 1))).argmax(axis=1)
    assert fit_temperature(logits, truth) == pytest.approx(2.5, rel=0.03)


def test_the_abstention_threshold_reaches_its_goal() -> None:
    probability = np.array([0.99, 0.95, 0.9, 0.6, 0.5, 0.4], np.float32)
    right = np.array([True, True, True, False, True, False])
    threshold = abstention_threshold(probability, right, 0.9)
    assert threshold == pytest.approx(0.9)
    assert abstention_threshold(probability, np.ones(6, bool), 0.9) == 0.0
    assert abstention_threshold(probability, np.zeros(6, bool), 0.9) == 1.0


def evaluation(accuracy: float, answers: list[int]) -> Evaluation:
    logits = np.eye(3, dtype=np.float32)[answers]
    return Evaluation(
        task="classification",
        scores={"accuracy": accuracy, "macro_f1": accuracy},
        detail={},
        logits=logits,
        truth=np.array(answers),
    )


def test_parity_limits() -> None:
    answers = [0, 1, 2] * 40
    fine = compare(evaluation(0.9, answers), evaluation(0.895, answers), Decision())
    assert fine.failures == ()
    worse = compare(evaluation(0.9, answers), evaluation(0.88, answers), Decision())
    assert len(worse.failures) == 2
    other = compare(evaluation(0.9, answers), evaluation(0.9, [1, 1, 2] * 40), Decision())
    assert other.failures == ("only 66.7 % of the answers are the same",)
    nan = compare(evaluation(0.9, answers), evaluation(float("nan"), answers), Decision())
    assert nan.failures


def test_a_class_that_gets_lost_is_named() -> None:
    """Accuracy may hold while one class vanishes into another."""

    def scored(recalls: dict[str, tuple[float, int]]) -> Evaluation:
        rows = {name: {"recall": r, "images": n} for name, (r, n) in recalls.items()}
        return replace(evaluation(0.9, [0, 1, 2] * 40), detail={"per_class": rows})

    before = scored({"wheel": (0.9, 600), "drill": (0.8, 40), "sun": (1.0, 1)})
    after = scored({"wheel": (0.91, 600), "drill": (0.7, 40), "sun": (0.0, 1)})
    assert compare(before, after, Decision()).failures == (
        "drill loses 10 points of recall (40 images)",
    )
    assert compare(after, before, Decision()).failures == ()


def test_labels_agree_where_they_are_decided_alike() -> None:
    """Not on which side of zero a logit lies: on which side of its label's threshold."""
    truth = np.zeros((100, 2), np.int8)
    said = np.tile(np.array([[0.1, 3.0]], np.float32), (100, 1))
    before = Evaluation(task="multilabel", scores={}, detail={}, logits=said, truth=truth)
    after = Evaluation(task="multilabel", scores={}, detail={}, logits=said - 0.2, truth=truth)
    assert compare(before, after, Decision()).agreement == 0.5
    assert compare(before, after, Decision(label_thresholds=(0.7, 0.7))).agreement == 1.0


def test_a_segmenter_gets_the_threshold_of_the_best_f1() -> None:
    counts = ObjectCounts(labelled=3, scores=[0.9, 0.7, 0.4, 0.2], hits=[True, True, False, False])
    result = Evaluation(task="segmentation", scores={}, detail={}, objects=counts)
    assert fit_decision(Decision(), result).feature_threshold == 0.7


def test_calibration_takes_classes_in_turn_and_bursts_once(msl_set: Path) -> None:
    samples = [ImageSample(Path(f"{k}"), 0, group="burst") for k in range(50)]
    samples += [ImageSample(Path(f"r{k}"), 1, group=f"g{k}") for k in range(4)]
    samples += [ImageSample(Path(f"s{k}"), 0, group=f"h{k}") for k in range(6)]
    chosen = calibration.choose(samples, 10)
    kinds = [s.label_id for s in chosen if isinstance(s, ImageSample)]
    assert kinds.count(1) == 4
    assert sum(s.group == "burst" for s in chosen) == 1
    assert len(calibration.choose(MslDataset(msl_set).samples("train"), 500)) == 24


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t["provenance"].update(dataset="yolo-boxes"), "was trained on yolo-boxes"),
        (
            lambda t: t["contract"].update(
                labels=[{"id": k, "name": f"rover {k}"} for k in range(3)]
            ),
            r"shows apxs, .* and nothing that tiny answers \(rover 0",
        ),
    ],
)
def test_images_of_something_else_are_refused(
    tmp_path: Path, msl_set: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    """Ranges from foreign images would make an int8 network that is wrong without a word."""
    run = write_run(tmp_path / "run", tiny_model())
    table = json.loads((run / "contract.json").read_text())
    change(table)
    (run / "contract.json").write_text(json.dumps(table))
    with pytest.raises(DatasetError, match=words):
        export(run, msl_set, tmp_path / "bundle", ExportOptions(), quiet)
    assert not (tmp_path / "bundle").exists()


def test_a_network_that_answers_all_images_alike_fails_the_comparison() -> None:
    """Int8 agrees with it in every image, and that says nothing."""

    def scored(logits: Any, truth: Any) -> Evaluation:
        detail: dict[str, Any] = {"per_class": {}}
        scores = {"accuracy": 0.5, "macro_f1": 0.3}
        return Evaluation(
            task="classification", scores=scores, detail=detail, logits=logits, truth=truth
        )

    truth = np.array([0, 1, 1, 0])
    flat = scored(np.array([[1.0, 0.5]] * 4, np.float32), truth)
    parity = compare(flat, flat, Decision())
    assert parity.agreement == 1.0
    assert parity.failures == ("the float network gives one answer to all 4 images",)
    alive = scored(np.array([[1, 0], [0, 1], [1, 0], [1, 0]], np.float32), truth)
    assert compare(alive, alive, Decision()).failures == ()
    assert parity.mute and not compare(alive, flat, Decision()).mute
    one = scored(flat.logits, np.zeros(4, np.int64))
    assert compare(one, one, Decision()).failures == ()
