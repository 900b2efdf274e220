"""Sinks and events in `rille run`: who hears what, and what a sink that fails does to a run."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rille.events import EventLog
from rille.sinks.buffered import BufferedSink
from rille.sinks.jsonl import read_lines
from rille.sinks.packets import decode_packet
from rille.sinks.video import AnnotatedVideo
from rille.sources import Source
from rille.sources.base import SourceEvent
from rille.sources.follow import SourceFollower
from rille.uri import SourceUri

Rille = Callable[..., int]
QUICK = "sim://moon?frames=4&size=160x120&realtime=0"
ROOT = Path(__file__).resolve().parents[2]


def sinks(*uris: str) -> list[str]:
    return ["--set", f"output.sinks={json.dumps(uris)}", "--set", "output.video=false"]


def test_every_sink_hears_of_frames_and_events(rille: Rille, tmp_path: Path) -> None:
    out, packets = tmp_path / "out", tmp_path / "p.bin"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        udp = f"udp://127.0.0.1:{receiver.getsockname()[1]}"
        assert rille("run", "--source", QUICK, "--out", out, *sinks(udp, f"ccsds://{packets}")) == 0
        heard = [json.loads(receiver.recv(65536)) for _ in range(6)]
    assert [record["seq"] for record in heard] == list(range(6))
    lines = list(read_lines(out / "results.jsonl"))
    for records in (heard, lines):
        assert [record.get("event", record.get("frame")) for record in records] == [
            "RUN_STARTED",
            *range(4),
            "RUN_ENDED",
        ]
    assert lines[0]["values"]["source"] == QUICK and "4 captured" in lines[-1]["text"]
    data, count = packets.read_bytes(), 0
    while data:
        length = int.from_bytes(data[4:6], "big") + 7
        decode_packet(data[:length])
        data, count = data[length:], count + 1
    assert count == 6
    summary = json.loads((out / "summary.json").read_text())
    assert summary["events"] == {"RUN_STARTED": 1, "RUN_ENDED": 1}
    assert list(summary["sinks"]) == [
        udp,
        f"ccsds://{packets}",
        "results.jsonl",
        "report.html",
        "console",
    ]
    for account in summary["sinks"].values():
        assert account["offered"] == account["written"] == 6


def test_a_run_goes_on_without_a_sink_that_fails(
    rille: Rille, tmp_path: Path, capsys: pytest.CaptureFixture[str], free_port: int
) -> None:
    out, udp = tmp_path / "out", f"udp://127.0.0.1:{free_port}"
    words = ["--source", QUICK, "--out", out, *sinks("jsonl:///dev/full", udp)]
    assert rille("run", *words) == 0
    said = capsys.readouterr().err
    assert "note: sink jsonl:///dev/full: " in said and "the disk is full" in said
    assert "nobody listens there" in said and "Traceback" not in said
    records = list(read_lines(out / "results.jsonl"))
    assert [record["frame"] for record in records if "frame" in record] == list(range(4))
    failed = [record for record in records if record.get("event") == "SINK_FAILED"]
    assert {record["values"]["sink"] for record in failed} == {"jsonl:///dev/full", udp}
    for account in json.loads((out / "summary.json").read_text())["sinks"].values():
        kinds = ("written", "dropped", "failed", "waiting")
        assert account["offered"] == sum(account[kind] for kind in kinds)


@pytest.mark.parametrize(
    ("uri", "code", "message"),
    [
        ("udp://127.0.0.1:70000", 2, "a port from 1 to 65535"),
        ("udp://no-such-host.invalid:5000", 3, "cannot be found"),
        ("jsonl://r.jsonl?max=3", 2, "did you mean 'max_mb'"),
        ("prometheus://0.0.0.0:9464", 2, "public=1"),
        ("ccsds:///no/such/p.bin", 3, "cannot be written"),
        ("promethius://127.0.0.1:9464", 2, "did you mean 'prometheus'"),
    ],
)
def test_one_clear_line_before_the_first_frame(
    rille: Rille,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    uri: str,
    code: int,
    message: str,
) -> None:
    out = tmp_path / "out"
    assert rille("run", "--source", QUICK, "--out", out, *sinks(uri)) == code
    said = capsys.readouterr().err
    assert message in said.splitlines()[-1] and "Traceback" not in said
    assert not any(out.iterdir())  # what an earlier run left there is not touched


def test_nothing_of_a_recording_is_lost_to_a_slow_sink(
    rille: Rille, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = BufferedSink.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "depth", 2)
    written = AnnotatedVideo.write

    def slowly(self: AnnotatedVideo, one: Any) -> None:
        time.sleep(0.05)
        written(self, one)

    monkeypatch.setattr(AnnotatedVideo, "write", slowly)
    out = tmp_path / "out"
    source = "sim://moon?frames=12&size=160x120&realtime=0"
    assert rille("run", "--source", source, "--out", out) == 0
    account = json.loads((out / "summary.json").read_text())["sinks"]["annotated.mp4"]
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    events = sum("event" in line for line in lines)  # a starved machine has more to tell
    assert len(lines) - events == 12 and events >= 2
    assert account["written"] == account["offered"] == len(lines)


def test_a_blocked_sink_neither_delays_a_camera_nor_its_end(tmp_path: Path) -> None:
    """A pipe that nobody reads: the file is open, and writing to it blocks for ever."""
    fifo, out = tmp_path / "fifo", tmp_path / "out"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    path = os.pathsep.join(str(ROOT / folder) for folder in ("runtime", "train", "export"))
    source = "sim://moon?frames=3000&size=160x120&fps=100"
    words = ["run", "--source", source, "--out", str(out), *sinks(f"jsonl://{fifo}")]
    run = subprocess.Popen(
        [sys.executable, "-m", "rille", *words, "--set", "output.report=false"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    file, end = out / "results.jsonl", time.monotonic() + 90
    while time.monotonic() < end and not (
        file.exists() and file.read_bytes().count(b'"frame"') > 600
    ):
        time.sleep(0.05)
    run.send_signal(signal.SIGTERM)
    _, said = run.communicate(timeout=60)
    os.close(reader)
    assert run.returncode == 0, said
    assert f"note: sink jsonl://{fifo}: " in said and "were given up" in said
    summary = json.loads((out / "summary.json").read_text())
    account, accounts = summary["account"], summary["sinks"]
    blocked, good = accounts[f"jsonl://{fifo}"], accounts["results.jsonl"]
    assert blocked["offered"] == blocked["written"] + blocked["dropped"] and blocked["dropped"] > 0
    assert good["dropped"] == good["failed"] == 0 and good["written"] == good["offered"]
    frames = [r for r in read_lines(file) if "frame" in r]
    assert len(frames) == account["captured"]


class Still(Source):
    """A source that gives no frames, as a camera that stalls."""

    def __init__(self) -> None:
        super().__init__(SourceUri("rtsp://me:secret@cam/1", "rtsp", "cam/1", {}), None)

    def describe(self) -> str:
        return "still"

    def _next(self) -> None:
        return None

    def happen(self, kind: str) -> None:
        self.events.append(SourceEvent(time.monotonic_ns(), kind, "so it is"))


def test_what_happens_to_a_source_is_told_while_it_happens() -> None:
    source, log = Still(), EventLog(burst=5000)
    source.happen("connected")
    with SourceFollower(source, log):
        source.happen("stalled")
        end = time.monotonic() + 20
        while len(log.recent) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        assert [event.id for event in log.recent] == ["SOURCE_CONNECTED", "SOURCE_STALLED"]
        source.happen("returned")
        source.happen("astonished")
    assert [event.id for event in log.recent][2:] == ["SOURCE_RETURNED", "SOURCE_TROUBLE"]
    assert not any("secret" in json.dumps(event.to_json()) for event in log.recent)


def test_more_source_events_than_are_kept() -> None:
    source, log = Still(), EventLog(burst=5000)
    with SourceFollower(source, log):
        for _ in range(1500):
            source.happen("trouble")
    assert 1000 <= log.counts["SOURCE_TROUBLE"] <= 1500
