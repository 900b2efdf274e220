"""`rille run front.toml rear.toml`: several cameras in one process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Rille = Callable[..., int]


def camera(folder: Path, name: str, uri: str, more: str = "") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(
        f'[source]\nuri = "{uri}"\n[classify]\nbundle = "moon-scene"\n[segment]\nbundle = ""\n'
        f'[output]\nfolder = "{folder / "out"}"\nvideo = false\nreport = false\n{more}'
    )
    return path


def frames(folder: Path, name: str) -> list[dict[str, Any]]:
    lines = (folder / "out" / name / "results.jsonl").read_text().splitlines()
    return [record for line in lines if "frame" in (record := json.loads(line))]


SIM = "sim://moon?view=descent&size=96x72&fps=20&frames="


def test_each_camera_has_its_own_budget_folder_and_account(
    rille: Rille, tmp_path: Path, capsys: Any
) -> None:
    front = camera(tmp_path, "front", SIM + "12", "[budget]\nframe_ms = 5000.0\n")
    rear = camera(tmp_path, "rear", SIM + "400&realtime=0", "limit = 7\n")
    assert rille("run", front, rear, "--set", "engine.check_every=0") == 0
    shown = capsys.readouterr()
    assert "front:\n" in shown.out and "rear:\n" in shown.out
    assert [r["frame"] for r in frames(tmp_path, "front")] == list(range(12))
    assert [r["frame"] for r in frames(tmp_path, "rear")] == list(range(7))
    for name, budget, count in (("front", 5000.0, 12), ("rear", 100.0, 7)):
        summary = json.loads((tmp_path / "out" / name / "summary.json").read_text())
        assert summary["budget_ms"] == budget
        account = summary["account"]
        assert (
            account["captured"]
            == count
            == sum(account[k] for k in ("ok", "late", "dropped", "failed"))
        )


def test_a_camera_that_fails_does_not_end_the_other(
    rille: Rille, tmp_path: Path, capsys: Any
) -> None:
    lost = camera(tmp_path, "lost", "http://127.0.0.1:9/nothing.mjpg#connect_s=0.5")
    good = camera(tmp_path, "good", SIM + "30")
    assert rille("run", lost, good) == 3
    assert "no frame within 0.5 s" in capsys.readouterr().err
    assert len(frames(tmp_path, "good")) == 30


def test_what_is_for_one_camera(rille: Rille, tmp_path: Path, capsys: Any) -> None:
    pair = [camera(tmp_path, name, SIM + "1") for name in ("one", "two")]
    with pytest.raises(SystemExit) as left:
        rille("run", *pair, "--source", "sim://moon")
    assert left.value.code == 2 and "for one camera" in capsys.readouterr().err


def test_what_several_supervised_cameras_cannot_have(
    rille: Rille, tmp_path: Path, capsys: Any
) -> None:
    one, two = (camera(tmp_path, name, SIM + "1") for name in ("one", "two"))
    assert rille("run", "--supervised", one, two, "--set", "output.limit=3") == 2
    assert "run until they are told to end" in capsys.readouterr().err
    with Path(two).open("a") as file:
        file.write("\n[health]\nrestarts = 1\n")
    assert rille("run", "--supervised", one, two) == 2
    assert "two.toml health: must say what" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        rille("run", *[one] * 17)
    assert "17 cameras; one process takes 16" in capsys.readouterr().err


def test_two_cameras_of_one_name(rille: Rille, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "b").mkdir()
    pair = [camera(tmp_path, "eye", SIM + "1"), camera(tmp_path / "b", "eye", SIM + "1")]
    assert rille("run", *pair) == 2
    assert "rename the file" in capsys.readouterr().err
