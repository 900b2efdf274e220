"""The command line as a person meets it: outputs, exit codes, one clear line for each mistake."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from rille.bundle import shipped_bundles
from rille.config import read_config
from rille.kernels import library

ROOT = Path(__file__).resolve().parents[2]
QUICK = "sim://moon?frames=4&size=160x120&realtime=0"
Rille = Callable[..., int]


def child(*words: object, **options: Any) -> subprocess.Popen[str]:
    """Start `rille` in a process of its own."""
    path = os.pathsep.join(str(ROOT / folder) for folder in ("runtime", "train", "export"))
    return subprocess.Popen(
        [sys.executable, "-m", "rille", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        **options,
    )


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the results in a file whose every line is whole."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [record for record in records if "frame" in record]


def test_a_run_writes_everything_it_says(rille: Rille, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    assert rille("run", "--source", QUICK, "--out", out, "--budget-ms", 60_000) == 0
    said = capsys.readouterr()
    assert "4 captured = 4 ok + 0 late + 0 dropped + 0 failed" in said.out
    assert "age (capture to publication)" in said.out
    assert f"in {out}" in said.err
    names = {p.name for p in out.iterdir()}
    assert names == {"results.jsonl", "annotated.mp4", "report.html", "run.toml", "summary.json"}
    assert len(lines(out / "results.jsonl")) == 4
    video = cv2.VideoCapture(str(out / "annotated.mp4"))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 4
    assert "<svg" in (out / "report.html").read_text()
    assert read_config(out / "run.toml").source.uri == QUICK
    summary = json.loads((out / "summary.json").read_text())
    assert summary["account"]["captured"] == summary["account"]["ok"] == 4


def test_the_resolved_configuration_runs_again(rille: Rille, tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    assert rille("run", "--source", QUICK, "--out", first, "--budget-ms", 60_000) == 0
    assert rille("run", first / "run.toml", "--out", second) == 0
    for one, two in zip(
        lines(first / "results.jsonl"), lines(second / "results.jsonl"), strict=True
    ):
        assert one["segmentation"] == two["segmentation"]
        assert one["classification"] == two["classification"]


def test_a_folder_of_photographs(rille: Rille, tmp_path: Path, image_folder: Path) -> None:
    (image_folder / "002.png").write_bytes(b"scrap")
    out = tmp_path / "out"
    words = ("--source", f"images://{image_folder}", "--out", out, "--budget-ms", 60_000)
    assert rille("run", *words) == 0
    records = lines(out / "results.jsonl")
    assert [r["state"] for r in records] == ["ok", "ok", "failed", "ok", "ok", "ok"]
    assert "002.png: not a complete image" in records[2]["error"]
    assert (out / "report.html").is_file() and (out / "annotated.mp4").is_file()


def test_only_unreadable_images(rille: Rille, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"scrap")
    out = tmp_path / "out"
    assert rille("run", "--source", f"images://{tmp_path / 'in'}", "--out", out) == 3
    said = capsys.readouterr()
    assert "none of 1 frame could be used" in said.err
    assert [r["state"] for r in lines(out / "results.jsonl")] == ["failed"]
    assert not (out / "annotated.mp4").exists()


def test_limit_stops_a_run(rille: Rille, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--source", QUICK, "--out", out, "--set", "output.limit=2"]
    assert rille("run", *words) == 0
    assert len(lines(out / "results.jsonl")) == 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run", "--source", "smi://moon"], 3, "did you mean 'sim'"),
        (["run", "--source", "images:///no/such"], 3, "no such folder of images"),
        (["run", "--source", "file:///no/such.mp4"], 3, "no such video file"),
        (["run", "--budget-ms", "0"], 2, "budget.frame_ms must be above 0"),
        (["run", "--budget-ms", "-5"], 2, "budget.frame_ms must be above 0"),
        (["run", "--set", "budget.frame_m=3"], 2, "did you mean 'frame_ms'"),
        (["run", "/no/such.toml"], 2, "no such file"),
        (["run", "--set", "segment.bundle=moon-crater"], 4, "did you mean 'moon-craters'"),
        (["run", "--set", "engine.backend=tensort"], 4, "there is no backend 'tensort'"),
        (["run", "--set", "segment.variant=int4"], 4, "no variant 'int4'"),
        (["run", "--set", "classify.bundle=moon-craters"], 2, "does segmentation, not classif"),
        (
            ["run", "--set", 'segment.bundle=""', "--set", 'classify.bundle=""'],
            2,
            "needs a bundle",
        ),
        (["eval", "mars-msl24", "/no/such", "--split", "val"], 3, "/no/such: no such folder"),
        (["rnu"], 2, "did you mean 'run'"),
    ],
)
def test_one_clear_line_and_the_right_code(
    rille: Rille, tmp_path: Path, capsys: Any, words: list[str], code: int, message: str
) -> None:
    if words[0] == "run":
        words = [*words, "--out", str(tmp_path / "out")]
    assert rille(*words) == code
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.strip().splitlines()[-1].startswith("rille ")
    assert "Traceback" not in said.err
    out = tmp_path / "out"
    assert not out.exists() or not any(out.iterdir())


def test_output_places_that_cannot_be_written(rille: Rille, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "deeper", "/proc/rille"):
        assert rille("run", "--source", QUICK, "--out", place) == 3
        assert str(place) in capsys.readouterr().err


@pytest.mark.parametrize("extras", ["true", "false"])
def test_a_disk_that_fills_up_in_mid_run(tmp_path: Path, extras: str) -> None:
    """A limit on file size stands in for a full disk: the write fails in the same place."""
    out = tmp_path / "out"

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    source = "sim://moon?frames=60&size=320x240&realtime=0"
    settings = ["--set", f"output.video={extras}", "--set", f"output.report={extras}"]
    run = child("run", "--source", source, "--out", out, *settings, preexec_fn=small_files)
    said, words = run.communicate(timeout=120)
    assert run.returncode == 3
    assert "results.jsonl: cannot be written" in words.splitlines()[-1]
    assert "Traceback" not in words and "WARN" not in words
    assert {file.name for file in out.iterdir()} == {"results.jsonl", "run.toml", "summary.json"}
    records = lines(out / "results.jsonl")  # every line that is there is whole
    assert 1 <= len(records) < 60
    assert "captured" in said and "in flight" not in said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_an_interrupt_leaves_complete_files(tmp_path: Path, number: int, code: int) -> None:
    out = tmp_path / "out"
    source = "sim://moon?frames=600&size=160x120&fps=20"
    run = child("run", "--source", source, "--out", out)
    file = out / "results.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not file.exists() or file.read_bytes().count(b"\n") < 8):
        time.sleep(0.05)
    run.send_signal(number)
    _, words = run.communicate(timeout=60)
    assert run.returncode == code, words
    assert "Traceback" not in words
    records = lines(file)
    account = json.loads((out / "summary.json").read_text())["account"]
    assert 5 <= len(records) < 600
    assert account["captured"] == len(records)
    assert account["captured"] == sum(account[k] for k in ("ok", "late", "dropped", "failed"))
    assert '"event":"RUN_ENDED"' in file.read_text().splitlines()[-1]
    video = cv2.VideoCapture(str(out / "annotated.mp4"))
    published = sum(r["state"] in ("ok", "late") for r in records)
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == published
    assert (out / "report.html").is_file()
    assert not list(out.glob("*.partial*")) and not list(out.glob(".*"))


def test_a_tampered_bundle_is_refused(
    rille: Rille, spoil: Any, tmp_path: Path, capsys: Any
) -> None:
    def flip(files: dict[str, bytes]) -> None:
        data = bytearray(files["model.int8.tflite"])
        data[5000] ^= 4
        files["model.int8.tflite"] = bytes(data)

    words = ["--set", f"classify.bundle={spoil(files=flip)}", "--out", tmp_path / "out"]
    assert rille("run", "--source", QUICK, *words) == 4
    assert "damaged or tampered with; fetch the bundle again" in capsys.readouterr().err


def test_help_and_version(rille: Rille, capsys: Any) -> None:
    assert rille("--help") == 0
    shown = capsys.readouterr().out
    for verb in ("run", "bench", "eval", "doctor", "train", "explain", "export"):
        assert f"  {verb} " in shown
    assert rille() == 2
    capsys.readouterr()
    assert rille("--version") == 0
    assert capsys.readouterr().out.startswith("rille ")


@pytest.mark.parametrize("verb", ["run", "bench", "eval", "doctor"])
def test_every_verb_explains_itself(rille: Rille, capsys: Any, verb: str) -> None:
    with pytest.raises(SystemExit) as left:
        rille(verb, "--help")
    assert left.value.code == 0
    assert len(capsys.readouterr().out) > 150


def test_bench_measures_pipeline_and_floor(rille: Rille, tmp_path: Path, capsys: Any) -> None:
    report = tmp_path / "bench.json"
    words = [
        "--frames",
        "30",
        "--warmup",
        "3",
        "--size",
        "160x120",
        "--budget-ms",
        "9999",
        "--cold",
        "0",
        "--json",
        report,
    ]
    assert rille("bench", *words) == 0
    shown = capsys.readouterr().out
    assert "pipeline / floor" in shown and "short run" in shown
    written = json.loads(report.read_text())
    rows = written["latency_ms"]
    threads = written["threads"]
    floor = rows[f"floor, {threads} thread(s)"]
    assert floor["n"] == rows["pipeline"]["n"] == 30
    assert 0 < floor["p50"] <= floor["max"]
    assert rows["pipeline"]["p50"] >= rows["segment infer"]["p50"]
    assert written["ratio_p50"] == pytest.approx(rows["pipeline"]["p50"] / floor["p50"], rel=1e-9)
    fastest = min(row["p50"] for name, row in rows.items() if name.startswith("floor"))
    against_fastest = next(v for k, v in written["ratios"].items() if "fastest" in k)
    assert against_fastest == pytest.approx(rows["pipeline"]["p50"] / fastest, rel=1e-9)
    rates = written["frames_per_s"]
    assert 0 < rates["pipeline"] <= 1000 / rows["pipeline"]["mean"]  # a frame ends after its age
    assert f"fastest plain loop: {rates['fastest plain loop']:.1f}" in shown


def test_bench_refuses_nonsense(rille: Rille, capsys: Any) -> None:
    with pytest.raises(SystemExit) as left:
        rille("bench", "--frames", "0")
    assert left.value.code == 2
    assert rille("bench", "--size", "tiny") == 2
    assert "size must be like 640x480" in capsys.readouterr().err


def test_the_doctor_says_go(rille: Rille, capsys: Any) -> None:
    assert rille("doctor") == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1] == "GO"
    assert "mars-msl24" in shown and "moon-craters" in shown and "p50" in shown


def test_the_doctor_in_haste_measures_nothing(rille: Rille, capsys: Any) -> None:
    assert rille("doctor", "--quick") == 0
    shown = capsys.readouterr().out
    assert shown.count("verified, self-test within") == len(shipped_bundles())
    assert shown.endswith("GO\n")
    assert " ms" not in shown


def test_the_doctor_says_no(
    rille: Rille, capsys: Any, monkeypatch: pytest.MonkeyPatch, spoil: Any
) -> None:
    def flip(files: dict[str, bytes]) -> None:
        files["MODEL_CARD.md"] += b"!"

    folder = spoil(files=flip)
    monkeypatch.setattr("rille.bundle.load._SHIPPED", folder.parent)
    assert rille("doctor") == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "NO-GO"
    assert "spoilt" in said.err


def test_the_doctor_names_a_processor_that_has_no_kernels(
    rille: Rille, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    library.load.cache_clear()
    assert rille("doctor", "--quick") == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "NO-GO" and "no kernels for the processor" in said.out
    assert "'riscv64'" in said.err and "make kernels" in said.err
    library.load.cache_clear()


def test_a_verb_whose_extra_is_missing_names_it() -> None:
    """In a child process, where Keras can be made absent whatever is installed."""
    code = (
        "import sys; sys.modules['keras'] = None; from rille.cli import main; "
        "sys.exit(main(['train', 'mars-msl24', '--data', '.']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert 'Install it with: pip install "rille[train]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_the_first_result_comes_soon(tmp_path: Path) -> None:
    """The promise is two seconds on an idle machine; a loaded one gets some room."""
    start = time.monotonic()
    run = child("run", "--source", "sim://moon?frames=100&fps=10", "--out", tmp_path / "out")
    file = tmp_path / "out" / "results.jsonl"
    while time.monotonic() - start < 60 and not (file.exists() and b'"frame"' in file.read_bytes()):
        time.sleep(0.01)
    took = time.monotonic() - start
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=60)
    assert took < 6.0
