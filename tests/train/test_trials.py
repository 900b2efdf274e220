"""Searches and folds: independent, resumable, the same wherever they run."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("keras", reason="the train extra is not installed")

from rille.errors import ConfigError, DatasetError
from rille_train.recipe import Recipe, read_recipe
from rille_train.trials import Job, JobResult, Material, Workers, run_jobs
from rille_train.trials.cross_validation import cross_validate
from rille_train.trials.search import Axis, points


def test_values_that_vary() -> None:
    assert Axis.parse("model.widths=[4,8],[8,16]").choices == ("[4,8]", "[8,16]")
    drawn = points([Axis.parse("a.b=1e-4..1e-2:log"), Axis.parse("c.d=4..6")], 200, 3)
    low = [float(point[0].partition("=")[2]) for point in drawn[:100]]
    assert all(1e-4 <= value <= 1e-2 for value in low)
    assert 30 <= sum(value < 1e-3 for value in low) <= 70
    assert {point[1] for point in drawn} == {"c.d=4", "c.d=5", "c.d=6"}
    assert points([Axis.parse("a.b=1,2"), Axis.parse("c.d=x,y")], None, 0) == [
        ("a.b=1", "c.d=x"), ("a.b=1", "c.d=y"), ("a.b=2", "c.d=x"), ("a.b=2", "c.d=y"),
    ]  # fmt: skip


def test_more_trials_only_add_to_those_before() -> None:
    axes = [Axis.parse("fit.learning_rate=1e-4..1e-2:log")]
    assert points(axes, 12, 5)[:4] == points(axes, 4, 5)
    assert points(axes, 4, 5) != points(axes, 4, 6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fit.epochs", "expected section.key"),
        ("epochs=1,2", "expected section.key"),
        ("fit.epochs=9..4", "LOW..HIGH"),
        ("fit.epochs=a..b", "no range of numbers"),
        ("fit.learning_rate=0..1:log", "above 0"),
        ("fit.learning_rate=1..2:sqrt", "LOW..HIGH"),
    ],
)
def test_a_space_that_is_none(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Axis.parse(text)


def test_a_number_of_trials_that_cannot_be() -> None:
    choice, band = Axis.parse("a.b=1,2"), Axis.parse("a.c=0..1")
    with pytest.raises(ConfigError, match="only 2 different points"):
        points([choice], 3, 0)
    with pytest.raises(ConfigError, match="a range needs --trials"):
        points([choice, band], None, 0)
    with pytest.raises(ConfigError, match="at least one --over"):
        points([], 3, 0)


def table(folder: Path) -> Any:
    return json.loads((folder / "trials.json").read_text())


@pytest.mark.slow
def test_a_search_ranks_keeps_and_goes_on(
    rille: Callable[..., int],
    tiny_craters: Path,
    yolo_set: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One trial diverges: it is listed with the reason, the others stand."""
    words = [
        "search", tiny_craters, "--data", yolo_set, "--out", tmp_path / "s",
        "--over", "fit.learning_rate=2e-3,1e30", "--set", "fit.epochs=1",
    ]  # fmt: skip
    assert rille(*words) == 1
    rows = table(tmp_path / "s")["trials"]
    assert [row["name"] for row in rows] == ["trial-001", "trial-002"]
    assert rows[0]["score"] is not None and rows[0]["deciding"] == "object_f1"
    assert rows[1]["score"] is None and "try a smaller learning rate" in rows[1]["error"]
    said = capsys.readouterr()
    assert "failed" in said.out and f"best: rille train {tiny_craters}" in said.err
    stamp = (tmp_path / "s" / "trial-001" / "model.keras").stat().st_mtime_ns
    assert rille(*words) == 1
    assert table(tmp_path / "s")["trials"][0] == rows[0]
    assert (tmp_path / "s" / "trial-001" / "model.keras").stat().st_mtime_ns == stamp


@pytest.fixture(scope="module")
def folds_here(
    tiny_craters: Path, yolo_set: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Recipe, Path]:
    """Two folds trained one after another in this process."""
    folder = tmp_path_factory.mktemp("folds")
    recipe = read_recipe(str(tiny_craters), ["fit.epochs=1"])
    cross_validate(recipe, Material(yolo_set), folder, count=2)
    return recipe, folder


@pytest.mark.slow
@pytest.mark.parametrize("where", ["processes", "ray"])
def test_folds_come_out_alike_wherever_they_run(
    where: str, folds_here: tuple[Recipe, Path], yolo_set: Path, tmp_path: Path
) -> None:
    """The same two folds at once, in two processes or on a local Ray cluster."""
    if where == "ray":
        pytest.importorskip("ray", reason="Ray has no package for this machine")
    recipe, folder = folds_here
    here = json.loads((folder / "folds.json").read_text())
    workers = Workers(jobs=2, cpus=1, ray="local" if where == "ray" else None)
    there = cross_validate(recipe, Material(yolo_set), tmp_path, count=2, workers=workers)
    assert [list(row["held"]) for row in there["folds"]] == [row["held"] for row in here["folds"]]
    assert there["mean"] == pytest.approx(here["mean"], abs=0.02)
    assert "epoch 1/1" in (tmp_path / "fold-01" / "log.txt").read_text()


@pytest.mark.slow
def test_a_process_that_is_killed_takes_no_other_with_it(
    tiny_craters: Path, yolo_set: Path, tmp_path: Path
) -> None:
    """The first of three is killed as soon as it runs: it says so, and the others finish."""
    recipe = read_recipe(str(tiny_craters), ["fit.epochs=1"])
    jobs = [
        Job(name=name, recipe=recipe, material=Material(yolo_set), out=tmp_path / name)
        for name in ("first", "second", "third")
    ]
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(run_jobs, jobs, Workers(jobs=2, cpus=1))
        while not any(process.name == "first" for process in multiprocessing.active_children()):
            assert not running.done()
            time.sleep(0.01)
        (first,) = [p for p in multiprocessing.active_children() if p.name == "first"]
        first.kill()
        results: list[JobResult] = running.result()
    assert [bool(result.error) for result in results] == [True, False, False]
    assert "ended early" in results[0].error and results[2].scores


@pytest.mark.slow
def test_folds_of_other_data_are_not_taken_for_these(
    folds_here: tuple[Recipe, Path], yolo_set: Path, tmp_path: Path
) -> None:
    recipe, folder = folds_here
    fewer = tmp_path / "fewer"
    shutil.copytree(yolo_set, fewer)
    (fewer / "train" / "images" / "t0.png").unlink()
    (fewer / "train" / "labels" / "t0.txt").unlink()
    with pytest.raises(DatasetError, match=r"of 2 folds failed.*holds another fold"):
        cross_validate(recipe, Material(fewer), folder, count=2)


@pytest.mark.slow
def test_a_cluster_that_is_not_there(
    rille: Callable[..., int],
    tiny_craters: Path,
    yolo_set: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("ray", reason="Ray has no package for this machine")
    words = ["train", tiny_craters, "--data", yolo_set, "--out", tmp_path, "--folds", 2, "--ray"]
    assert rille(*words) == 2
    said = capsys.readouterr().err
    assert "no Ray cluster answers" in said and "ray start --head" in said


def test_workers_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="--jobs must be at least 1"):
        Workers(jobs=0)
    assert Workers(jobs=10_000).share == 1
