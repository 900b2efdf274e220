"""`rille run --supervised` against real processes that are killed, stopped and crash."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rille.bundle import install, load_bundle, roll_back
from rille.recording.read import open_recording

Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A source that gives 20 frames a second for ever, and is there at once."""
    folder = tmp_path_factory.mktemp("camera")
    for k in range(8):
        noise = np.random.default_rng(k).integers(0, 256, (64, 96, 3), np.uint8)
        assert cv2.imwrite(str(folder / f"{k}.png"), noise)
    return f"images://{folder}?fps=20&loop=1"


@pytest.fixture
def start(tmp_path: Path, camera: str) -> Iterator[Run]:
    """Start `rille run` into tmp_path/out; whatever still runs at the end is told to end."""
    running: list[subprocess.Popen[str]] = []

    def run(*words: str, source: str = camera, **options: Any) -> subprocess.Popen[str]:
        lean = ["--set", "output.video=false", "--set", "output.report=false"]
        command = [sys.executable, "-m", "rille", "run", "--source", source]
        child = subprocess.Popen(
            [*command, "--out", str(tmp_path / "out"), *lean, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        running.append(child)
        return child

    yield run
    for child in running:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)  # a supervisor takes its run along
            child.communicate(timeout=60)


def until(true: Callable[[], Any], seconds: float = 90.0) -> float:
    """Wait until something is so; return for how long, in seconds."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "waited in vain"
        time.sleep(0.01)
    return time.monotonic() - began


def state(out: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = json.loads((out / "supervisor.json").read_text())
    except FileNotFoundError:
        return {"state": "", "part": -1}
    return table


def results(out: Path, part: int, camera: str = "", *, live: bool = False) -> list[dict[str, Any]]:
    """Return the frames' records of a part; the last line must be whole too.

    Of a live run it may be half there: who reads while another writes sees page after page of it.
    """
    path = out / f"part-{part:03d}" / camera / "results.jsonl"
    text = path.read_text() if path.exists() else ""
    if live:
        text = text[: text.rfind("\n") + 1]
    assert not text or text.endswith("\n")
    records = [json.loads(line) for line in text.splitlines()]
    return [record for record in records if "frame" in record]


def serving(out: Path, part: int, frames: int = 1) -> Callable[[], bool]:
    def reached() -> bool:
        return state(out)["state"] == "running" and len(results(out, part, live=True)) >= frames

    return reached


def events(out: Path) -> list[str]:
    path = out / "events.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line)["event"] for line in lines]


def check_account(out: Path) -> dict[str, Any]:
    """Check that every frame that any part captured is accounted for; return the state."""
    table = state(out)
    total: dict[str, int] = dict.fromkeys(table["account"], 0)
    for row in table["parts"]:
        ends = sum(row[k] for k in ("ok", "late", "dropped", "failed"))
        assert row["captured"] == ends + row["lost"]
        # A crash may fall between the last line and its count; that frame then counts as lost.
        assert len(results(out, row["part"])) - ends in ((0,) if row["code"] == 0 else (0, 1))
        total = {key: total[key] + row[key] for key in total}
    assert total == table["account"]
    return table


def test_killed_stopped_and_ended(tmp_path: Path, start: Run) -> None:
    """The life of a supervised run: killed, hung, told to end."""
    out = tmp_path / "out"
    limits = ["warn_ms=300", "fatal_ms=1500"]
    words = [
        w
        for name in ("capture", "work")
        for x in limits
        for w in ("--set", f"health.limits.{name}.{x}")
    ]
    run = start("--supervised", *words)
    until(serving(out, 0, 5))
    maps = Path(f"/proc/{run.pid}/maps").read_text()
    assert not any(word in maps for word in ("numpy", "cv2", "litert"))

    os.kill(state(out)["child_pid"], signal.SIGKILL)
    assert until(serving(out, 1)) < 15  # 3 s on an idle machine
    os.kill(state(out)["child_pid"], signal.SIGSTOP)
    assert until(serving(out, 2)) < 20  # 1.5 s until it is fatal, and 2 s on an idle machine

    run.send_signal(signal.SIGTERM)
    _, words_for_people = run.communicate(timeout=60)
    assert run.returncode == 0, words_for_people
    table = check_account(out)
    assert (table["state"], table["restarts"], table["child_pid"]) == ("ended", 2, None)
    killed, hung, ended = table["parts"]
    assert killed["ended"] == "killed by SIGKILL" and ended["code"] == 0
    assert hung["ended"].startswith("killed: ") and "silent for 1." in hung["ended"]
    assert events(out).count("CHILD_RESTARTED") == 2 and "HEARTBEAT_LATE" in events(out)
    assert ended["lost"] == 0 and (out / "part-002" / "summary.json").is_file()


def test_two_cameras_killed_and_started_again(tmp_path: Path, camera: str) -> None:
    """Each camera's frames are in its folder in each part; the account is of both."""
    out = tmp_path / "out"
    for name in ("front", "rear"):
        (tmp_path / f"{name}.toml").write_text(f'[source]\nuri = "{camera}"\n')
    words = ["--out", str(out), "--set", "output.video=false", "--set", "output.report=false"]
    files = [str(tmp_path / f"{name}.toml") for name in ("front", "rear")]
    command = [sys.executable, "-m", "rille", "run", "--supervised", *files, *words]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def both(part: int, *, live: bool = False) -> list[int]:
        return [len(results(out, part, name, live=live)) for name in ("front", "rear")]

    try:
        until(lambda: min(both(0, live=True)) >= 5)
        os.kill(state(out)["child_pid"], signal.SIGKILL)
        until(lambda: min(both(1, live=True)) >= 5)
    finally:
        run.send_signal(signal.SIGTERM)
        _, said = run.communicate(timeout=60)
    assert run.returncode == 0 and "Traceback" not in said, said
    first, second = state(out)["parts"]
    assert second["captured"] == sum(both(1)) and second["lost"] == 0
    assert 0 <= sum(both(0)) - (first["captured"] - first["lost"]) <= 2


def test_a_recording_that_is_killed_goes_on_in_a_new_file(tmp_path: Path, camera: str) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "rille", "record", "--supervised", "--source", camera]
    lean = ["--set", "output.video=false", "--set", "output.report=false", "--jpeg", "90"]
    run = subprocess.Popen([*command, "--out", str(out), *lean], stderr=subprocess.DEVNULL)
    try:
        until(serving(out, 0, 30))  # what is younger than a second may be lost
        os.kill(state(out)["child_pid"], signal.SIGKILL)
        until(serving(out, 1, 5))
    finally:
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=60)
    assert run.returncode == 0
    frames = [
        sum(1 for _ in open_recording(out / f"part-00{k}" / "run.mcap").frames()) for k in (0, 1)
    ]
    assert frames[1] == len(results(out, 1)) and frames[0] > 0


def test_a_wrong_configuration_is_not_tried_twice(tmp_path: Path, start: Run) -> None:
    run = start("--supervised", "--set", "classify.bundel=x")
    _, words = run.communicate(timeout=60)
    assert run.returncode == 2
    assert "no key 'bundel'; did you mean 'bundle'" in words and "Traceback" not in words
    assert state(tmp_path / "out")["restarts"] == 0


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("health.restart=1", "did you mean 'restarts'"),
        ("health.limits.work.fatal_ms=-1", "warn_ms <= fatal_ms"),
        ("output.folder=3", "must be a text"),
    ],
)
def test_the_parents_own_configuration(tmp_path: Path, setting: str, words: str) -> None:
    command = [sys.executable, "-m", "rille", "run", "--supervised", "--set", setting]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_bundle_that_cannot_be_trusted_is_not_tried_twice(tmp_path: Path, start: Run) -> None:
    (tmp_path / "bundle").mkdir()
    run = start("--supervised", "--set", f"classify.bundle={tmp_path / 'bundle'}")
    _, words = run.communicate(timeout=60)
    assert run.returncode == 4 and "is not a bundle" in words
    assert state(tmp_path / "out")["restarts"] == 0


def test_what_dies_at_once_again_and_again_ends_in_safe_mode(tmp_path: Path, start: Run) -> None:
    out = tmp_path / "out"
    run = start("--supervised", source=str(tmp_path / "no-such-folder"))
    _, words = run.communicate(timeout=200)
    assert run.returncode == 5, words
    assert "safe mode" in words.splitlines()[-1] and "Traceback" not in words
    table = state(out)
    assert table["state"] == "safe mode" and table["restarts"] == 5
    assert [row["code"] for row in table["parts"]] == [3] * 6
    assert events(out) == ["CHILD_RESTARTED"] * 5 + ["SAFE_MODE"]
    last = json.loads((out / "events.jsonl").read_text().splitlines()[-1])
    assert last["severity"] == "FATAL"


def test_a_run_that_is_over_is_over(tmp_path: Path, start: Run) -> None:
    """A second run into the same folder leaves the first one's parts alone."""
    out = tmp_path / "out"
    for part in (0, 1):
        run = start("--supervised", "--set", "output.limit=12")
        run.communicate(timeout=120)
        assert run.returncode == 0
        assert len(results(out, part)) >= 12
    table = check_account(out)
    assert table["restarts"] == 0 and [row["part"] for row in table["parts"]] == [1]
    assert len(results(out, 0)) >= 12


def test_the_run_ends_when_its_supervisor_is_killed(tmp_path: Path, start: Run) -> None:
    out = tmp_path / "out"
    run = start("--supervised")
    until(serving(out, 0))
    child = state(out)["child_pid"]
    run.kill()
    run.communicate(timeout=60)
    until(lambda: not Path(f"/proc/{child}/cmdline").exists() or _zombie(child), 30)
    records = results(out, 0)
    summary = json.loads((out / "part-000" / "summary.json").read_text())
    assert summary["account"]["captured"] == len(records)


def _zombie(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


class Systemd(threading.Thread):
    """Takes what a service says, from the moment it says it."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._said: list[str] = []

    def run(self) -> None:
        with self._socket:
            while (said := self._socket.recv(4096).decode()) != "end of the test":
                self._said.append(said)

    def heard(self) -> list[str]:
        """Return what was said since this was last called."""
        count = len(self._said)
        heard, self._said[:count] = self._said[:count], []
        return heard


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    path = tmp_path / "notify"
    listening = Systemd(path)
    listening.start()
    yield listening
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(b"end of the test", str(path))
    listening.join(60)


def test_what_systemd_hears(tmp_path: Path, start: Run, systemd: Systemd) -> None:
    """READY once the networks are loaded, the watchdog fed only while all is in limit."""
    out = tmp_path / "out"
    told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
    run = start("--supervised", env={**os.environ, **told})
    until(serving(out, 0))
    begun: list[str] = []

    def ready() -> bool:
        begun.extend(systemd.heard())
        return "READY=1" in begun

    until(ready)
    assert begun.count("READY=1") == 1 and "WATCHDOG=1" in begun
    child = state(out)["child_pid"]
    assert "NOTIFY_SOCKET" not in Path(f"/proc/{child}/environ").read_text()
    began = time.monotonic()
    time.sleep(2.0)
    fed = systemd.heard()
    assert 3 <= fed.count("WATCHDOG=1") <= 2 + (time.monotonic() - began) / 0.15  # every 0.2 s
    assert any(line.startswith("STATUS=running, part 0: ") for line in begun + fed)

    late = events(out).count("HEARTBEAT_LATE")
    os.kill(child, signal.SIGSTOP)
    until(lambda: events(out).count("HEARTBEAT_LATE") > late)
    systemd.heard()
    time.sleep(1.0)
    assert "WATCHDOG=1" not in systemd.heard()
    os.kill(child, signal.SIGCONT)
    until(lambda: "WATCHDOG=1" in systemd.heard())

    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=60)
    assert "STOPPING=1" in systemd.heard() and run.returncode == 0
    assert state(out)["restarts"] == 0


def test_a_notify_socket_that_leads_nowhere(tmp_path: Path, start: Run) -> None:
    environment = {**os.environ, "NOTIFY_SOCKET": "/no/such/socket", "WATCHDOG_USEC": "100000"}
    run = start("--supervised", "--set", "output.limit=5", env=environment)
    run.communicate(timeout=120)
    assert run.returncode == 0
    assert events(tmp_path / "out").count("NOTIFY_UNREACHABLE") == 1


@pytest.mark.parametrize(("stop_ms", "signals"), [(400, 1), (600_000, 2)])
def test_a_run_that_does_not_end_is_killed(
    tmp_path: Path, start: Run, stop_ms: int, signals: int
) -> None:
    """After its time is over, or at once at a second signal."""
    out = tmp_path / "out"
    run = start("--supervised", "--set", f"health.stop_ms={stop_ms}")
    until(serving(out, 0))
    os.kill(state(out)["child_pid"], signal.SIGSTOP)
    began = time.monotonic()
    for _ in range(signals):
        run.send_signal(signal.SIGTERM)
        until(lambda: state(out)["state"] in ("stopping", "ended"))
    run.communicate(timeout=60)
    assert time.monotonic() - began < 10 and run.returncode == 0
    assert events(out)[-1] == "CHILD_KILLED"
    check_account(out)


def test_a_new_bundle_is_taken_up_without_losing_a_frame(
    tmp_path: Path, start: Run, spoil: Any
) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["version"] = "9.9.9"

    out, site = tmp_path / "out", tmp_path / "site"
    old, new = load_bundle("mars-msl24"), load_bundle(spoil(change))
    install(old, site, lambda slot: None)
    run = start("--supervised", "--set", f"classify.bundle={site}")
    until(serving(out, 0, 5))
    install(new, site, lambda slot: None)
    run.send_signal(signal.SIGHUP)

    def flown(*, live: bool = True) -> list[str]:
        records = results(out, 0, live=live)
        return [r["bundles"]["classify"] for r in records if r["state"] in ("ok", "late")]

    until(lambda: flown()[-1] == new.digest)
    model = site / "a" / "model.int8.tflite"  # where the next one will fly from, damaged
    roll_back(site, lambda slot: None)
    model.write_bytes(model.read_bytes()[:-1])
    run.send_signal(signal.SIGHUP)
    before = len(flown())
    until(lambda: len(flown()) > before + 20)
    run.send_signal(signal.SIGTERM)
    _, words = run.communicate(timeout=60)
    assert run.returncode == 0 and state(out)["restarts"] == 0
    digests = flown(live=False)
    change_at = digests.index(new.digest)
    assert set(digests[:change_at]) == {old.digest} and set(digests[change_at:]) == {new.digest}
    records = results(out, 0)
    assert [record["frame"] for record in records] == list(range(len(records)))
    assert not any(record["state"] == "failed" for record in records)
    assert "9.9.9 flies from now on" in words and "the old one goes on flying" in words
    check_account(out)


def test_sigterm_at_any_moment_leaves_whole_records(tmp_path: Path, start: Run) -> None:
    """Twenty moments of a run in flight: it ends within a second on an idle machine."""
    chance = random.Random(8)
    took = []
    for turn in range(20):
        out = tmp_path / f"out-{turn}"
        run = start("--out", str(out))
        until(lambda file=out / "results.jsonl": file.exists() and file.stat().st_size > 0)  # type: ignore[misc]
        time.sleep(chance.uniform(0, 0.15))
        run.send_signal(signal.SIGTERM)
        began = time.monotonic()
        _, words = run.communicate(timeout=60)
        took.append(time.monotonic() - began)
        assert run.returncode == 0 and "Traceback" not in words, words
        text = (out / "results.jsonl").read_text()
        assert text.endswith("\n")
        account = json.loads((out / "summary.json").read_text())["account"]
        records = [json.loads(line) for line in text.splitlines()]
        assert sum("frame" in record for record in records) == account["captured"]
    assert sorted(took)[len(took) // 2] < 3.0, took
