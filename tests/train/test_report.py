"""The page about a training run, from made files: no framework is needed to draw it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rille.bundle import Bundle
from rille.datasets import open_dataset
from rille.errors import ConfigError
from rille.evaluate import evaluate
from rille.network import Network
from rille.report.svg import Axis, Chart, axis_over, matrix
from rille_train.report import write_examples, write_training_report

HISTORY = {
    "loss": [1.5, 0.9, 0.6, 0.5],
    "mask_loss": [0.9, 0.5, 0.3, 0.2],
    "val_accuracy": [0.7],
    "val_macro_f1": [0.6],
}
VOID = {"meta", "img"}


class Page(HTMLParser):
    """Collects what a page holds, and complains about tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.links += [v or "" for k, v in attributes if k in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def write_files(run: Path, detail: dict[str, Any], task: str) -> None:
    run.mkdir(exist_ok=True)
    (run / "history.json").write_text(json.dumps(HISTORY))
    (run / "validation.json").write_text(json.dumps(detail))
    (run / "recipe.toml").write_text('name = "tiny"\n\n[fit]\nepochs = 4\nvalidate_every = 2\n')
    contract = {
        "name": "tiny <network>",
        "version": "0",
        "summary": "made for a test",
        "task": task,
        "decision": {"temperature": 1.25},
    }
    provenance = {
        "dataset": "made",
        "train_split": "train",
        "train_images": 24,
        "train_listing_sha256": "0123abcd" * 8,
        "parameters": 12345,
        "trained_with": "keras 3",
        "trained_on": "2026-01-01",
    }
    record = {"contract": contract, "provenance": provenance}
    (run / "contract.json").write_text(json.dumps(record))


def test_the_page_of_a_classifier(msl_set: Path, mars_bundle: Bundle, tmp_path: Path) -> None:
    network, data = Network.load(mars_bundle), open_dataset(msl_set)
    result = evaluate(network, data, "val")
    write_files(tmp_path, result.detail, "classification")
    write_examples(tmp_path / "examples", network, data, "val", result)
    path = write_training_report(tmp_path)
    assert path == tmp_path / "report.html"
    page = Page(path.read_text(encoding="utf-8"))
    for words in (
        "tiny <network>",
        "Learning curves",
        "Worst confusions",
        "Percent of the row",
        "Risk and coverage",
        "At temperature 1.25",
        "0123abcd",
        "validate_every = 2",
        "keras 3",
        "macro f1",
        "mean F1 over the classes present",
    ):
        assert words in page.text, words
    assert f"{result.scores['accuracy']:.4f}" in page.text
    # Two families of curves, two matrices, reliability with its shares, risk-coverage.
    assert page.counts["svg"] == 7
    assert page.counts["img"] == len(list((tmp_path / "examples").glob("*.jpg"))) > 0
    assert all(link.startswith("data:image/jpeg;base64,") for link in page.links)


def test_the_page_of_a_segmenter(yolo_set: Path, craters_bundle: Bundle, tmp_path: Path) -> None:
    network, data = Network.load(craters_bundle), open_dataset(yolo_set)
    result = evaluate(network, data, "val")
    write_files(tmp_path, result.detail, "segmentation")
    write_examples(tmp_path / "examples", network, data, "val", result)
    page = Page(write_training_report(tmp_path).read_text(encoding="utf-8"))
    assert "Craters by diameter" in page.text and "40 and more" in page.text
    assert f"{result.detail['by_image']['dice_median']:.4f}" in page.text
    assert page.counts["img"] == 4
    assert page.text.count("Dice ") >= 4
    (tmp_path / "examples" / "00.jpg").unlink()
    with pytest.raises(ConfigError, match="not a complete set of examples"):
        write_training_report(tmp_path)


def test_it_can_be_drawn_again_without_a_framework(
    yolo_set: Path, craters_bundle: Bundle, tmp_path: Path
) -> None:
    result = evaluate(Network.load(craters_bundle), open_dataset(yolo_set), "val")
    write_files(tmp_path, result.detail, "segmentation")
    first = write_training_report(tmp_path).read_bytes()
    (tmp_path / "report.html").unlink()
    code = (
        "import sys; from rille_train.cli import main\n"
        f"assert main(['--report', {str(tmp_path)!r}]) == 0\n"
        "assert not {'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() == first


def test_results_of_an_older_version_still_have_a_page(
    msl_set: Path, mars_bundle: Bundle, tmp_path: Path
) -> None:
    detail = evaluate(Network.load(mars_bundle), open_dataset(msl_set), "val").detail
    new = ("scores", "class_names", "intervals_95", "groups", "group_weighted_accuracy")
    old = {k: v for k, v in detail.items() if k not in new}
    known = ("expected_calibration_error", "abstain_below", "coverage", "accuracy_of_the_answered")
    old["calibration"] = {k: detail["calibration"][k] for k in known}
    write_files(tmp_path, old, "classification")
    page = Page(write_training_report(tmp_path).read_text(encoding="utf-8"))
    assert f"{detail['accuracy']:.4f}" in page.text
    assert "Not in this run's validation.json" in page.text


def test_the_scores_stand_at_the_epochs_they_were_taken(tmp_path: Path) -> None:
    from rille_train.report.curves import learning_curves

    drawn = learning_curves(HISTORY, {"accuracy": 0.9, "macro_f1": 0.8}, every=2)
    assert "<title>accuracy: 2, 0.7</title>" in drawn
    assert "<title>accuracy: 4, 0.9</title>" in drawn
    assert "<title>mask_loss: 1, 0.9</title>" in drawn
    assert learning_curves({}, {}, 1) == "<p>No epoch was logged.</p>"


def test_an_unfinished_run_has_no_page(tmp_path: Path, rille: Callable[..., int]) -> None:
    with pytest.raises(ConfigError, match=r"contract\.json: no such file; only a finished run"):
        write_training_report(tmp_path)
    write_files(tmp_path, {}, "classification")
    (tmp_path / "history.json").write_text("[1]")
    with pytest.raises(ConfigError, match=r"history\.json: must hold a table"):
        write_training_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_axes_mark_round_numbers() -> None:
    assert Axis("", 0, 1.02).ticks() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert Axis("", 0.5, 2.5, whole=True).ticks(8) == [1.0, 2.0]
    flat = axis_over("", [3.0, 3.0])
    assert flat.low < 3.0 < flat.high
    chart = Chart(Axis("x", 0, 10), Axis("y", 0, 1), 500, 300)
    (x0, y0), (x1, y1) = chart.at(0, 0), chart.at(10, 1)
    assert x0 < x1 and y0 > y1
    assert np.allclose(chart.at(5, 0.5), ((x0 + x1) / 2, (y0 + y1) / 2))


def test_a_matrix_draws_only_what_is_not_empty() -> None:
    drawn = matrix(["a<b", "c"], [["3", ""], ["1", "2"]], [[1, 0], [0.33, 0.67]])
    assert drawn.count("<rect") == 3
    assert "a&lt;b" in drawn and "a<b" not in drawn
    Page(drawn)
