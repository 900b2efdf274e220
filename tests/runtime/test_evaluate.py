"""Scores through the runtime, on made data and, where it is at hand, on the real splits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rille.bundle import Bundle
from rille.cli.eval import trained_on
from rille.datasets import open_dataset
from rille.errors import DatasetError
from rille.evaluate import evaluate
from rille.network import Network


def test_craters_on_simulated_tiles(yolo_set: Path, craters_bundle: Bundle) -> None:
    network = Network.load(craters_bundle)
    result = evaluate(network, open_dataset(yolo_set), "val")
    assert result.detail["images"] == 4
    assert result.detail["bundle"] == craters_bundle.digest
    assert 0.2 < result.scores["object_f1"] <= 1
    assert 0.2 < result.scores["dice"] <= 1
    again = evaluate(network, open_dataset(yolo_set), "val")
    assert again.scores == result.scores
    assert again.detail == result.detail
    for name in ("dice", "object_f1"):
        low, high = result.detail["intervals_95"][name]
        assert 0 <= low <= result.scores[name] <= high <= 1
    rows, objects = result.detail["by_diameter"], result.detail["objects"]
    assert sum(row["labelled"] for row in rows) == objects["labelled"]
    assert len(result.detail["by_image"]["dice"]) == 4


def test_classes_are_matched_by_their_published_id(msl_set: Path, mars_bundle: Bundle) -> None:
    result = evaluate(Network.load(mars_bundle), open_dataset(msl_set), "val")
    detail = result.detail
    assert set(detail["per_class"]) == {"apxs", "apxs cal target", "drill holes"}
    assert sum(row["images"] for row in detail["per_class"].values()) == 9
    assert len(detail["confusion"]) == 25  # the network's 24 classes and "sun"
    assert result.logits.shape == (9, 24)
    assert len(detail["class_names"]) == 25
    assert detail["groups"] == 9
    low, high = detail["intervals_95"]["accuracy"]
    assert 0 <= low <= detail["accuracy"] <= high <= 1
    calibration = detail["calibration"]
    assert sum(b["count"] for b in calibration["reliability"]) == 9
    assert calibration["risk_coverage"][-1] == pytest.approx((1.0, 1 - detail["accuracy"]))


def test_a_bundle_on_a_data_set_of_another_task(msl_set: Path, craters_bundle: Bundle) -> None:
    with pytest.raises(DatasetError, match="moon-craters does segmentation"):
        evaluate(Network.load(craters_bundle), open_dataset(msl_set), "val")


def test_a_damaged_image_stops_the_score_unless_asked(
    yolo_set: Path, tmp_path: Path, craters_bundle: Bundle
) -> None:
    import shutil

    root = tmp_path / "set"
    shutil.copytree(yolo_set, root)
    (root / "valid" / "images" / "v1.png").write_bytes(b"scrap")
    network = Network.load(craters_bundle)
    with pytest.raises(DatasetError, match=r"v1\.png: not a complete image.*--skip-unreadable"):
        evaluate(network, open_dataset(root), "val")
    result = evaluate(network, open_dataset(root), "val", skip_unreadable=True)
    assert result.detail["images"] == 3
    assert result.detail["unreadable"] == ["valid/images/v1.png"]


def test_the_command_prints_a_table_and_writes_json(
    yolo_set: Path, tmp_path: Path, rille: Callable[..., int], capsys: Any
) -> None:
    report = tmp_path / "r.json"
    assert rille("eval", "moon-craters", yolo_set, "--split", "val", "--json", report) == 0
    shown = capsys.readouterr().out
    assert "Dice" in shown and "objects" in shown and "IoU >= 0.5" in shown
    assert "95 % interval" in shown and "40 and more" in shown
    written = json.loads(report.read_text())
    assert f"{written['objects']['f1']:.4f}" in shown
    assert rille("eval", "mars-msl24", yolo_set, "--split", "val") == 3
    assert "not for classification" in capsys.readouterr().err


# The floors that the shipped bundles must clear, on splits they were not trained on. The figures
# themselves stand in the README and in the model cards.


@pytest.mark.data
@pytest.mark.slow
def test_mars_msl24_on_the_official_validation_split(
    data_root: Callable[[str], Path], mars_bundle: Bundle
) -> None:
    """It was trained on this split too, and says so: what is checked is that nothing got lost."""
    dataset = open_dataset(data_root("msl_v1"))
    assert trained_on(mars_bundle, dataset, "val") == 1640
    assert mars_bundle.manifest.metrics["trained_on_this_split"] is True
    result = evaluate(Network.load(mars_bundle), dataset, "val")
    stated = mars_bundle.manifest.metrics["parity"]["tflite-int8"]
    assert result.scores["accuracy"] >= stated["float"]["accuracy"] - 0.01
    assert result.scores["accuracy"] == pytest.approx(stated["here"]["accuracy"], abs=0.003)
    assert result.detail["calibration"]["expected_calibration_error"] <= 0.03


@pytest.mark.data
@pytest.mark.slow
def test_moon_craters_on_quadrant_c(
    data_root: Callable[[str], Path], craters_bundle: Bundle
) -> None:
    result = evaluate(Network.load(craters_bundle), open_dataset(data_root("lunar_craters")), "val")
    stated = craters_bundle.manifest.metrics["parity"]["tflite-int8"]
    assert trained_on(craters_bundle, open_dataset(data_root("lunar_craters")), "val") == 0
    assert result.scores["object_f1"] >= 0.43
    assert result.scores["object_f1"] >= stated["float"]["object_f1"] - 0.01
    assert result.scores["dice"] == pytest.approx(stated["here"]["dice"], abs=0.005)
    assert result.scores["object_f1"] == pytest.approx(stated["here"]["object_f1"], abs=0.005)
    assert np.isfinite(list(result.scores.values())).all()
