"""A recording worked on once more gives the same answers; a bundle that is another is refused."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.runtime.recorded import record, unseen, worked

from rille.bundle import load_bundle
from rille.cli.main import main
from rille.errors import SourceError
from rille.frame import Frame
from rille.images import read_image
from rille.network import Network
from rille.recording import Recorded, open_recording
from rille.replay import replay
from rille.result import Result, Segmentation, State
from rille.sources import open_source
from rille.vehicle import Vehicle

SIM = "sim://moon?view=rover&terrain=boulder-field&seed=7&fps=2&frames=4&size=320x240"
QUIET = ["--set", "output.video=false", "--set", "output.report=false"]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four simulated frames as files, so that a slow run loses none."""
    folder = tmp_path_factory.mktemp("frames")
    with open_source(SIM) as source:
        for frame in source:
            path = folder / f"{frame.index}.png"
            assert cv2.imwrite(str(path), frame.pixels[..., ::-1])
    return folder


@pytest.fixture(scope="module")
def run(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run recorded on one thread, with time enough for everything."""
    return recorded(frames, tmp_path_factory.mktemp("run"), "engine.threads=1")


def recorded(frames: Path, out: Path, *settings: str) -> Path:
    words = ["record", "--source", f"images://{frames}", "--out", str(out), "--budget-ms", "60000"]
    for setting in settings:
        words += ["--set", setting]
    assert main([*words, *QUIET]) == 0
    return out


def test_the_same_to_the_bit_on_other_threads(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for threads in ("1", "2"):
        assert main(["replay", str(run), "--threads", threads, "--out", str(tmp_path / "r")]) == 0
        assert "4 frames in both, 0 of them differ" in capsys.readouterr().out
    assert main(["compare", str(run / "run.mcap"), str(tmp_path / "r")]) == 0


def test_exact_kernels_give_the_same_bits_on_other_threads(frames: Path, tmp_path: Path) -> None:
    out = recorded(
        frames, tmp_path, "engine.threads=1", "engine.backend=litert-exact", "output.limit=1"
    )
    assert main(["replay", str(out), "--threads", "2"]) == 0
    digests = [f.record["digests"] for f in open_recording(out / "run.mcap").frames()]
    assert set(digests[0]) == {"pixels", "logits", "mask", "features"}


def test_exact_kernels_agree_with_the_fast_ones(frames: Path) -> None:
    """98 % of the cells of masks are the same; logits lie within 16 steps, 4 on average."""
    pictures = [read_image(path) for path in sorted(frames.iterdir())]
    masks: dict[str, list[NDArray[Any]]] = {}
    for backend in ("litert", "litert-exact"):
        network = Network.load(load_bundle("moon-rocks"), backend=backend)
        answers = [network.run(pixels)[0] for pixels in pictures[:2]]
        masks[backend] = [a.mask for a in answers if isinstance(a, Segmentation)]
        network.close()
    same = np.mean([np.mean(a == b) for a, b in zip(*masks.values(), strict=True)])
    assert same >= 0.98
    logits = []
    for backend in ("litert", "litert-exact"):
        network = Network.load(load_bundle("moon-scene"), backend=backend)
        outputs = [network.backend.infer(network.preprocessor(p)[0]) for p in pictures]
        logits.append(np.stack([o["logits"].astype(int) for o in outputs]))
    assert np.abs(logits[0] - logits[1]).max() <= 16
    assert np.abs(logits[0] - logits[1]).mean() <= 4


def test_another_bundle_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(load_bundle("moon-rocks").where, tmp_path / "other")
    manifest = tmp_path / "other" / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    words = ["replay", str(run), "--set", f"segment.bundle={tmp_path / 'other'}"]
    assert main(words) == 4
    err = capsys.readouterr().err
    assert "segment: recorded with moon-rocks" in err and "--allow-other-bundle" in err
    assert main([*words, "--allow-other-bundle"]) == 0
    assert "note: segment: recorded with moon-rocks" in capsys.readouterr().err


def test_answers_that_came_out_different_are_named(
    frames: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = recorded(frames, tmp_path / "other", "engine.threads=1", "classify.bundle=mars-msl24")
    capsys.readouterr()
    words = ["--set", "classify.bundle=moon-scene", "--allow-other-bundle"]
    assert main(["replay", str(other), *words]) == 1
    out = capsys.readouterr().out
    assert "4 of them differ" in out and "classification.label" in out


def test_lossy_frames_need_a_tolerance(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["record", "--source", f"images://{frames}?limit=1", "--out", str(tmp_path)]
    assert main([*words, "--budget-ms", "60000", "--jpeg", "95", *QUIET]) == 0
    assert main(["replay", str(tmp_path)]) == 2
    assert "frames are not exact (jpeg)" in capsys.readouterr().err
    assert main(["replay", str(tmp_path), "--tolerance", "0.3"]) in (0, 1)
    assert "1 frames in both" in capsys.readouterr().out
    assert main(["record", "--jpeg", "0"]) == 2


def test_a_cut_recording_replays_what_is_there(
    frames: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rille.recording.write.FLUSH_BYTES", 1)  # each frame a chunk of its own
    path = recorded(frames, tmp_path) / "run.mcap"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    assert main(["replay", str(path)]) == 0
    said = capsys.readouterr()
    assert "the end of the file is missing" in said.err
    assert " 0 of them differ" in said.out and "4 frames" not in said.out
    path.write_bytes(whole[: len(whole) // 9])
    assert main(["replay", str(path)]) == 3
    assert "holds no frame" in capsys.readouterr().err


class Notes:
    """Stands in for a pipeline: notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Frame, Mapping[str, int]]] = []

    def replay(self, frame: Frame, readings_ns: Mapping[str, int]) -> Result:
        self.asked.append((frame, readings_ns))
        return replace(worked(frame.index), readings_ns=readings_ns)


def test_frames_nobody_worked_on_come_out_as_recorded(tmp_path: Path) -> None:
    expired = replace(
        worked(2),
        state=State.DROPPED,
        cause="expired",
        classification=None,
        segmentation=None,
        timings_ms={},
    )
    superseded = replace(expired, index=3, cause="superseded")
    results = [worked(0), unseen(1, State.DROPPED), expired, superseded, unseen(4, State.FAILED)]
    notes = Notes()
    path = record(tmp_path / "run.mcap", results)
    pairs = list(replay(open_recording(path), notes))
    assert [f.index for f, _ in notes.asked] == [0, 2]
    frame, readings = notes.asked[0]
    assert np.array_equal(frame.pixels, worked(0).frame.pixels)  # type: ignore[union-attr]
    assert frame.captured_ns == worked(0).captured_ns and frame.source_ns == 0
    assert readings == worked(0).readings_ns
    # The clock alone decided that it expired: no pixels were kept, none are needed.
    assert notes.asked[1][0].pixels.shape == (24, 32)
    for at in (1, 3, 4):
        assert dict(pairs[at][0].record) == pairs[at][1]


def test_what_the_vehicle_knew_comes_along(tmp_path: Path) -> None:
    first = worked(0)
    assert first.frame is not None
    knew = Vehicle(sun_azimuth_deg=12.3456789, pose={"x_m": 1.00001})
    result = replace(first, frame=replace(first.frame, vehicle=knew))
    notes = Notes()
    list(replay(open_recording(record(tmp_path / "run.mcap", [result])), notes))
    assert notes.asked[0][0].vehicle == knew


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("readings_ns", {"start": "x"}, "clock readings are missing or damaged"),
        ("captured_ns", 1.5, "times are missing or damaged"),
        ("vehicle", {"sun_azimuth_deg": 1e9}, "vehicle: sun_azimuth_deg must be"),
        ("source_ns", "now", "times are missing or damaged"),
    ],
)
def test_hostile_records(tmp_path: Path, key: str, value: object, match: str) -> None:
    recording = open_recording(record(tmp_path / "run.mcap", [worked(0)]))
    first = next(recording.frames())
    spoiled = Recorded(index=0, record={**first.record, key: value}, image=first.image)
    recording.frames = lambda: iter([spoiled])  # type: ignore[method-assign]
    with pytest.raises(SourceError, match=match):
        list(replay(recording, Notes()))


def test_without_pixels_there_is_no_replay(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    sink = f'output.sinks=["mcap://{tmp_path}/bare.mcap?pixels=0"]'
    recorded(frames, out, sink, "output.limit=1")
    assert main(["replay", str(tmp_path / "bare.mcap"), "--tolerance", "1"]) == 3
    assert "recorded without pixels" in capsys.readouterr().err
    assert main(["replay", str(tmp_path / "absent.mcap")]) == 3
    assert main(["replay", str(out), "--exact", "--backend", "litert"]) == 2
    assert main(["replay", str(record(tmp_path / "x.mcap", [worked(0)])), "--set", "a.b=1"]) == 2


@pytest.mark.parametrize("budget_ms", ["4", "25"])
def test_decisions_replay_from_the_recorded_clock(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], budget_ms: str
) -> None:
    """Frames at 50 a second against a budget that some do not meet: all is decided once more."""
    words = ["record", "--source", f"images://{frames}?fps=50&loop=1&limit=40"]
    words += ["--out", str(tmp_path), "--budget-ms", budget_ms, *QUIET]
    assert main(words) == 0
    capsys.readouterr()
    assert main(["replay", str(tmp_path), "--out", str(tmp_path / "again.jsonl")]) == 0
    assert "40 frames in both, 0 of them differ" in capsys.readouterr().out
    # Not only the answers: every reading of the clock comes out again. (A frame that expired is
    # stamped when it is given up, and nothing rests on that.)
    both = ["compare", str(tmp_path / "run.mcap"), str(tmp_path / "again.jsonl"), "--times"]
    for field in ("timings_ms.*", "published_ns", "age_ms"):
        both += ["--ignore", field]
    assert main(both) == 0
