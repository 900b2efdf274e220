"""ONNX for a bundle whose training run is not at hand."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
pytest.importorskip("tensorflow", reason="the export extra is not installed")
pytest.importorskip("onnx", reason="the export extra is not installed")

import onnx
from tests.export.tiny_run import quiet, tiny_model, write_run

from rille.bundle import Bundle, load_bundle, write_bundle
from rille.errors import BundleError, CheckFailedError, ConfigError, DatasetError
from rille.network import Network
from rille_export.add_forms import add_forms
from rille_export.assemble import ExportOptions, export
from rille_export.cli import main

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, msl_set: Path) -> Bundle:
    """A bundle of a small classifier in int8 alone."""
    folder = tmp_path_factory.mktemp("small")
    return export(
        write_run(folder / "run", tiny_model()), msl_set, folder / "b", ExportOptions(), quiet
    )[0]


def added(bundle: Bundle, root: Path, out: Path, *targets: str, force: bool = False) -> Any:
    return add_forms(bundle, root, out, targets, calibration_images=20, force=force, say=quiet)


def test_tensorrt_forms_of_an_int8_bundle(small: Bundle, msl_set: Path, tmp_path: Path) -> None:
    made, parity = added(small, msl_set, tmp_path / "out", "tensorrt")
    assert list(parity) == ["onnx-fp16", "onnx-int8"]
    manifest = load_bundle(tmp_path / "out").manifest
    assert sorted(manifest.variants) == ["onnx-fp16", "onnx-int8", "tflite-int8"]
    assert manifest.variants["tflite-int8"] == small.manifest.variants["tflite-int8"]
    assert manifest.decision == small.manifest.decision
    (note,) = manifest.provenance["added"]
    assert note["made_of"] == "the weights of tflite-int8" and note["forms"] == list(parity)
    assert set(manifest.metrics["parity"]) == {"tflite-int8", "onnx-fp16", "onnx-int8"}
    assert "## Forms added" in made.files["MODEL_CARD.md"].decode()
    for form in parity:
        network = Network.load(made, variant=form)
        assert network.golden_count and network.self_test() < 0.1
        network.close()
    # And once more, onto what was added to.
    again, _ = added(made, msl_set, tmp_path / "again", "onnx-fp32", "tflite-fp32")
    assert [len(one["forms"]) for one in again.manifest.provenance["added"]] == [2, 2]
    assert Network.load(again, variant="tflite-fp32").self_test() < 0.1


def test_int8_weights_come_back_as_the_integers_they_were(
    small: Bundle, msl_set: Path, tmp_path: Path
) -> None:
    made, _ = added(small, msl_set, tmp_path / "out", "onnx-int8")
    graph = onnx.load_model_from_string(made.files["model.int8.onnx"]).graph
    stored = [onnx.numpy_helper.to_array(t) for t in graph.initializer]
    weights = next(w for w in stored if w.dtype == np.int8 and w.size == 9)
    # The network is 6 times the identity, so each channel's only weight is its largest step.
    assert sorted(weights.ravel().tolist()) == [0] * 6 + [127] * 3


def test_what_cannot_be_added_is_refused(small: Bundle, msl_set: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match=r"tflite-int16x8: can only be made of the trained"):
        added(small, msl_set, out, "onnx-fp32", "tflite-int16x8")
    silent = replace(small, manifest=replace(small.manifest, metrics={}))
    with pytest.raises(BundleError, match="does not say which splits"):
        added(silent, msl_set, out, "onnx-fp32")
    other = replace(small.manifest, provenance={**small.manifest.provenance, "dataset": "moon"})
    with pytest.raises(DatasetError, match="was trained on moon"):
        added(replace(small, manifest=other), msl_set, out, "onnx-fp32")
    assert not out.exists()


def test_a_form_that_loses_too_much_is_not_written(
    small: Bundle, msl_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = {"accuracy": -0.5}  # half of all images more than the float network has
    monkeypatch.setattr("rille_export.parity._LIMITS", limit)
    out = tmp_path / "out"
    with pytest.raises(CheckFailedError, match="onnx-fp32: accuracy falls"):
        added(small, msl_set, out, "onnx-fp32")
    assert not out.exists()
    forced, _ = added(small, msl_set, out, "onnx-fp32", force=True)
    assert forced.manifest.provenance["added"][0]["forced"] is True


def test_the_command_tells_a_bundle_from_a_run(
    small: Bundle, msl_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_bundle(tmp_path / "b", small.manifest, small.files).where
    where = [str(folder), "--data", str(msl_set)]
    with pytest.raises(SystemExit) as left:
        main(where)
    assert left.value.code == 2 and "name what to add" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*where, "--target", "onnx-fp32", "--tune", "5"])
    assert "is for a trained network" in capsys.readouterr().err
    assert main([*where, "--target", "onnx-fp32", "--out", str(tmp_path / "out")]) == 0
    assert "onnx-fp32, " in capsys.readouterr().out
