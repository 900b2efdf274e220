"""One file tells the run: lines that are whole, files that are bounded, a reader that copes."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rille.errors import ConfigError, SinkError, SourceError
from rille.events import EventLog
from rille.result import Result
from rille.sinks import open_sink
from rille.sinks.jsonl import JsonLines, read_lines, rotated

Make = Callable[..., Result]
ROOT = Path(__file__).resolve().parents[2]


def frames(path: Path) -> list[int]:
    return [record["frame"] for record in read_lines(path) if "frame" in record]


def test_events_stand_between_results(tmp_path: Path, result: Make) -> None:
    path, log = tmp_path / "r.jsonl", EventLog()
    sink = open_sink(f"jsonl://{path}")
    log.listen(sink.event)
    log.emit("RUN_STARTED", "go", budget_ms=50.0, odd=math.nan, folder=path)
    sink.write(result(0))
    log.emit("RUN_ENDED", "over")
    sink.close()
    records = list(read_lines(path))
    assert [record.get("event", record.get("frame")) for record in records] == [
        "RUN_STARTED",
        0,
        "RUN_ENDED",
    ]
    assert records[0]["values"] == {"budget_ms": 50.0, "odd": "nan", "folder": str(path)}
    assert records[0]["severity"] == "ACTIVITY_HI"


def test_files_are_bounded_and_nothing_kept_is_lost(tmp_path: Path, result: Make) -> None:
    path = tmp_path / "r.jsonl"
    sink = JsonLines(path, max_bytes=4000, keep=3)
    for k in range(60):
        sink.write(result(k))
    sink.close()
    files = rotated(path)
    assert [file.name for file in files] == ["r.jsonl.3", "r.jsonl.2", "r.jsonl.1", "r.jsonl"]
    assert all(0 < file.stat().st_size <= 4000 for file in files)
    found = [index for file in files for index in frames(file)]
    assert found == list(range(60 - len(found), 60))
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in files}


def test_a_restart_keeps_what_was_there(tmp_path: Path, result: Make) -> None:
    path = tmp_path / "r.jsonl"
    for run in range(3):
        sink = open_sink(f"jsonl://{path}?max_mb=1&keep=2")
        sink.write(result(run))
        sink.close()
    assert [frames(file) for file in rotated(path)] == [[0], [1], [2]]
    open_sink(f"jsonl://{path}").close()  # without bounds an earlier file is replaced
    assert frames(path) == []


def test_a_line_longer_than_a_file_is_written_all_the_same(tmp_path: Path, result: Make) -> None:
    path = tmp_path / "r.jsonl"
    sink = JsonLines(path, max_bytes=10, keep=5)
    for k in range(3):
        sink.write(result(k))
    sink.close()
    assert [frames(file) for file in rotated(path)] == [[0], [1], [2]]


def test_other_files_beside_it_are_left_alone(tmp_path: Path, result: Make) -> None:
    path = tmp_path / "r.jsonl"
    others = ["r.jsonl.old", "r.jsonl.01", "r.jsonl.1.gz"]
    for name in others:
        (tmp_path / name).write_text("mine")
    sink = JsonLines(path, max_bytes=10, keep=2)
    for k in range(5):
        sink.write(result(k))
    sink.close()
    assert [file.name for file in rotated(path)] == ["r.jsonl.2", "r.jsonl.1", "r.jsonl"]
    assert all((tmp_path / name).read_text() == "mine" for name in others)


WRITER = """
import sys
from pathlib import Path
from rille.events import EventLog
from rille.sinks.jsonl import JsonLines
sink, log = JsonLines(Path(sys.argv[1]), 60_000, 4), EventLog(burst=1 << 30)
log.listen(sink.event)
print("ready", flush=True)
while True:
    log.emit("FRAME_LATE", "x" * 3000)
"""


def test_a_killed_process_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT / "runtime")},
        )
        assert writer.stdout is not None and writer.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(0.1)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        for file in rotated(path):
            assert file.stat().st_size <= 60_000
            serials = [record["serial"] for record in read_lines(file)]
            # The newest may have been opened and not yet written to.
            assert serials or file == path
            assert not serials or serials == list(range(serials[0], serials[0] + len(serials)))


def test_only_a_torn_last_line_is_forgiven(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'{"frame":0}\n{"frame":1}\n{"fra')
    assert frames(path) == [0, 1]
    path.write_bytes(b'{"frame":0}\n{"frame":1}')  # torn just before its end of line
    assert frames(path) == [0, 1]
    path.write_bytes(b'{"frame":0}\n{"fra\n{"frame":2}\n')
    with pytest.raises(SourceError, match=r"r\.jsonl:2: not a line of JSON"):
        frames(path)
    path.write_bytes(b'{"frame":0}\n[1]\n')
    with pytest.raises(SourceError, match=r"r\.jsonl:2"):
        frames(path)
    path.write_bytes(b"\xff\n")
    with pytest.raises(SourceError, match=r"r\.jsonl:1"):
        frames(path)
    path.write_bytes(b"")
    assert frames(path) == []
    with pytest.raises(SourceError, match="cannot be read"):
        frames(tmp_path / "absent")
    with pytest.raises(SourceError, match="cannot be read"):
        frames(tmp_path)


def test_every_prefix_of_a_file_can_be_read(tmp_path: Path, result: Make) -> None:
    path = tmp_path / "r.jsonl"
    sink = JsonLines(path)
    for k in range(2):
        sink.write(result(k))
    sink.close()
    data = path.read_bytes()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        assert frames(path) == list(range(data[: length + 1].count(b"\n")))


def test_a_disk_that_has_room_again(tmp_path: Path, result: Make) -> None:
    """A limit on file size stands in for a full disk, in a process of its own."""
    code = f"""
import json, resource, signal
from pathlib import Path
from rille.errors import SinkError
from rille.events import EventLog
from rille.sinks.jsonl import JsonLines
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sink, log = JsonLines(Path({str(tmp_path / "r.jsonl")!r})), EventLog(burst=100)
event = log.emit("FRAME_LATE", "x" * 1000)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
refused = 0
for _ in range(9):
    try:
        sink.event(event)
    except SinkError:
        refused += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
sink.event(event)
sink.close()
print(refused)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "runtime")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    refused = int(done.stdout)
    assert 0 < refused < 9
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 10 - refused
    assert len(list(read_lines(tmp_path / "r.jsonl"))) == 10 - refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("?maxmb=3", "did you mean 'max_mb'"),
        ("?max_mb=0", "max_mb must be a number from 0.01"),
        ("?max_mb=many", "max_mb must be a number"),
        ("?max_mb=1&keep=0", "keep must be a whole number from 1 to 1000"),
        ("?max_mb=1&keep=2.5", "keep must be a whole number"),
        ("?keep=3", "keep needs max_mb"),
        ("#x", "write %23"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, options: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_sink(f"jsonl://{tmp_path}/r.jsonl{options}")
    assert not list(tmp_path.iterdir())


def test_odd_names(tmp_path: Path, result: Make) -> None:
    sink = open_sink(f"jsonl://{tmp_path}/a%23b%3Fc%20d.jsonl")
    sink.close()
    assert [file.name for file in tmp_path.iterdir()] == ["a#b?c d.jsonl"]
    with pytest.raises(SinkError, match="directory"):
        open_sink(f"jsonl://{tmp_path}")
