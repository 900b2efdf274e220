"""`rille data check` on the command line: words, JSON, exit codes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_the_command_says_it_all(
    kaggle_set: Path, tmp_path: Path, rille: Callable[..., int], capsys: Any
) -> None:
    report = tmp_path / "r.json"
    assert rille("data", "check", kaggle_set, "--json", report) == 0
    shown, words = capsys.readouterr()
    assert words == ""  # no terminal, no progress line
    assert "msl-v1 in" in shown and shown.endswith("USABLE\n")
    assert re.search(r"\n  8 ground +4 +50\.00 % +2 +50\.00 %", shown)
    written = json.loads(report.read_text())
    assert written["splits"]["train"]["images"] == 8
    assert written["notes"] == [{"what": "1 class without an image", "names": ["sun"]}]


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(
    ("name", "task", "code"),
    [
        ("kaggle_set", "", 0),
        ("alrl_set", "segmentation", 0),
        ("alrl_set", "classification", 0),
        ("change_set", "segmentation", 1),
        ("change_set", "multilabel", 1),
        ("polygon_set", "", 0),
        ("rendered_set", "segmentation", 0),
        ("rendered_set", "multilabel", 0),
        ("yolo_set", "", 0),
        ("msl_set", "", 0),
    ],
)
def test_every_layout_has_its_report(
    request: pytest.FixtureRequest,
    rille: Callable[..., int],
    capsys: Any,
    name: str,
    task: str,
    code: int,
    fast: bool,
) -> None:
    words = [*(["--task", task] if task else []), *(["--fast"] if fast else [])]
    assert rille("data", "check", request.getfixturevalue(name), *words) == code
    shown = capsys.readouterr().out
    assert "Traceback" not in shown and "\nclass " in shown
    assert ("USABLE" in shown) and ("NOT USABLE" in shown) == (code == 1)


def test_every_leak_and_damage_ends_with_one(
    kaggle_set: Path, rille: Callable[..., int], capsys: Any
) -> None:
    for path in (kaggle_set / "images").glob("0003*"):
        path.write_bytes(b"")
    assert rille("data", "check", kaggle_set) == 1
    shown = capsys.readouterr().out
    assert "TROUBLE: 4 files unusable" in shown
    assert all(f"0003MR{k:06d}" in shown for k in range(4))
    assert "NOT USABLE AS IT IS: 4 files unusable" in shown


def test_long_lists_are_cut_on_screen_only(
    kaggle_set: Path, tmp_path: Path, rille: Callable[..., int], capsys: Any
) -> None:
    for path in (kaggle_set / "images").iterdir():
        path.write_bytes(b"")
    report = tmp_path / "r.json"
    assert rille("data", "check", kaggle_set, "--json", report) == 1
    assert "and 8 more (--json FILE has all)" in capsys.readouterr().out
    assert len(json.loads(report.read_text())["troubles"][0]["names"]) == 16


def test_mistakes_have_the_codes_of_the_house(
    kaggle_set: Path, alrl_set: Path, tmp_path: Path, rille: Callable[..., int], capsys: Any
) -> None:
    with pytest.raises(SystemExit, match="2"):
        rille("data")
    with pytest.raises(SystemExit, match="2"):
        rille("data", "chek", kaggle_set)
    assert rille("data", "check", tmp_path / "absent") == 3
    assert rille("data", "check", kaggle_set, "--task", "segmentation") == 3
    assert rille("data", "check", alrl_set / "images") == 3
    assert "storage folders (clean, ground, render)" in capsys.readouterr().err
    assert rille("data", "check", kaggle_set, "--json", tmp_path / "no" / "r.json") == 3
    (kaggle_set / "Train_CSV.csv").write_text("JPG\nx\n")
    assert rille("data", "check", kaggle_set) == 3
    assert "Train_CSV.csv:1: no column 'LABELS'" in capsys.readouterr().err


def test_a_set_without_a_split(kaggle_set: Path, rille: Callable[..., int], capsys: Any) -> None:
    for path in kaggle_set.glob("*.csv"):
        path.unlink()
    assert rille("data", "check", kaggle_set) == 3
    assert "holds no split" in capsys.readouterr().err
