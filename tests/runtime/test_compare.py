"""Two runs, field by field: what differs, on how many frames, by how much."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.recorded import record, unseen, worked

from rille.cli.main import main
from rille.errors import SourceError
from rille.recording.compare import Rules, compare
from rille.recording.messages import result_record
from rille.result import State
from rille.results import ResultFile


def records(count: int = 6) -> list[dict[str, Any]]:
    found = [result_record(worked(k)) for k in range(count - 1)]
    return [*found, result_record(unseen(count - 1, State.DROPPED))]


def test_the_same_is_the_same_in_any_order() -> None:
    found = compare(records(), reversed(records()))
    assert found.same and found.frames == 6 and not found.differences


def test_what_differs_where_and_by_how_much() -> None:
    other = records()
    other[1]["classification"]["probability"] += 0.125
    other[3]["classification"]["probability"] -= 0.25
    other[3]["level"] = "classify-only"
    other[4]["segmentation"] = None
    other[5]["cause"] = "superseded"
    found = compare(records(), other)
    assert not found.same and (found.frames, found.differing) == (6, 4)
    probability = found.differences["classification.probability"]
    assert (probability.frames, probability.first_frame) == (2, 1)
    assert probability.first == (0.75, 0.875) and probability.largest == 0.25
    assert found.differences["level"].first == ("full", "classify-only")
    assert found.differences["level"].largest is None
    assert found.differences["segmentation"].first[1] is None
    assert set(found.differences) == {
        "classification.probability",
        "level",
        "segmentation",
        "cause",
    }


def test_times_count_only_when_asked_for() -> None:
    other = records()
    other[2]["published_ns"] += 5
    other[2]["timings_ms"]["segment infer"] = 9.0
    other[2]["readings_ns"]["start"] += 5
    assert compare(records(), other).same
    found = compare(records(), other, Rules(ignore=()))
    assert set(found.differences) == {
        "published_ns",
        "timings_ms.segment infer",
        "readings_ns.start",
    }


def test_tolerances() -> None:
    other = records()
    other[0]["classification"]["probability"] += 0.01
    other[0]["segmentation"]["features"][0]["x_px"] += 0.5
    other[0]["digests"] = {}
    assert compare(records(), other, Rules(tolerance=0.5)).same
    other[1]["classification"]["label_id"] += 1
    assert not compare(records(), other, Rules(tolerance=5.0)).same
    other[1]["classification"]["label_id"] -= 1
    assert not compare(records(), other, Rules(tolerance=0.1)).same
    special = Rules(tolerance=0.02, tolerances={"segmentation.features*": 1.0})
    assert compare(records(), other, special).same
    assert compare(records(), other, Rules(ignore=("*",))).same


def test_features_are_paired_by_place() -> None:
    """Two that swapped places in the order of scores are the same two."""
    one, other = records(2), records(2)
    near = one[0]["segmentation"]["features"][0]
    far = {**near, "x_px": 90.0, "angle_deg": 179.5}
    one[0]["segmentation"]["features"] = [near, far]
    other[0]["segmentation"]["features"] = [{**far, "angle_deg": 0.5}, dict(near)]
    for side in (one, other):
        del side[0]["digests"]["features"]
    assert compare(one, other, Rules(tolerance=1.0)).same
    other[0]["segmentation"]["features"][1]["label"] = "stone"
    found = compare(one, other, Rules(tolerance=1.0))
    assert found.differences["segmentation.features (paired)"].first == (2, 1)


def test_frames_of_one_side_alone() -> None:
    found = compare(records()[:4], records()[2:])
    assert (found.only_a, found.only_b, found.frames) == ([0, 1], [4, 5], 2)
    assert not found.same


def test_what_only_recordings_have_needs_both() -> None:
    plain = [{k: v for k, v in r.items() if k not in ("digests", "grid")} for r in records()]
    assert compare(records(), plain).same
    other = records()
    other[0]["digests"]["mask"] = "0" * 64
    assert set(compare(records(), other).differences) == {"digests.mask"}


@given(st.integers(0, 4), st.sampled_from(["label", "probability", "abstained", "entropy"]))
def test_any_change_is_found(frame: int, key: str) -> None:
    other = copy.deepcopy(records())
    other[frame]["classification"][key] = "changed"
    found = compare(records(), other)
    assert found.differing == 1
    assert found.differences[f"classification.{key}"].first_frame == frame


def write(path: Path, found: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in found))
    return path


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = record(tmp_path / "run.mcap", [worked(k) for k in range(5)])
    same = write(tmp_path / "results.jsonl", records()[:5])
    assert main(["compare", str(recording), str(tmp_path)]) == 0
    assert "5 frames in both, 0 of them differ" in capsys.readouterr().out
    changed = records()[:5]
    changed[2]["classification"]["probability"] = 0.25
    other = write(tmp_path / "other.jsonl", changed)
    assert main(["compare", str(same), str(other)]) == 1
    out = capsys.readouterr().out
    assert "classification.probability" in out and "2: 0.75 | 0.25" in out
    assert main(["compare", str(same), str(other), "--tolerance", "classification.*=0.5"]) == 0
    assert main(["compare", str(same), str(other), "--ignore", "classification.probability"]) == 0
    capsys.readouterr()
    assert main(["compare", str(same), str(other), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["fields"]["classification.probability"] == {
        "frames": 1,
        "first_frame": 2,
        "first": [0.75, 0.25],
        "largest": 0.5,
    }
    assert main(["compare", str(same), str(other), "--tolerance", "much"]) == 2
    assert main(["compare", str(same), str(other), "--tolerance", "-1"]) == 2
    assert main(["compare", str(same), str(tmp_path / "absent")]) == 3
    assert "no such file" in capsys.readouterr().err


def test_events_are_no_results(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"event": "RUN_STARTED", "serial": 0}, *records()])
    assert [r["frame"] for r in ResultFile(path)] == list(range(6))
    (tmp_path / "empty.jsonl").write_bytes(b"")
    assert list(ResultFile(tmp_path / "empty.jsonl")) == []


def test_a_cut_line_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = write(tmp_path / "a.jsonl", records())
    cut = tmp_path / "b.jsonl"
    cut.write_bytes(whole.read_bytes()[:-5])
    assert main(["compare", str(whole), str(cut)]) == 1
    assert "its last line is torn" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"not json\n", "1: not a line of JSON"),
        (b"[1]\n", "1: not a line of JSON"),
        (b'{"frame": "x"}\n', "neither a result nor an event"),
        (b"[" * 200_000 + b"\n", "1: not a line of JSON"),
    ],
)
def test_hostile_lines(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=match):
        list(ResultFile(path))
