"""Heartbeats, limits, restarts counted, the word to systemd: each by itself."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rille.errors import ConfigError, FrameDecodeError, SinkError
from rille.events import EventLog
from rille.health.beats import MOST_CAMERAS, VARIABLE, FrameAccount, Heartbeats
from rille.health.child import in_words
from rille.health.ledger import Ending, Ledger
from rille.health.notify import Notifier
from rille.health.restarts import RestartCap
from rille.health.settings import HealthConfig, Limits
from rille.schema import build
from rille.sources import Source, open_source
from rille.sources.watched import WatchedSource


def names(beats: Heartbeats) -> set[str]:
    return {sign.name for sign in beats.due()}


def test_a_heartbeat_is_due_from_beat_to_rest() -> None:
    beats = Heartbeats.create()
    before = time.monotonic_ns()
    beats.beat("capture")
    beats.beat("sink udp")
    (capture, _) = beats.due()
    assert before <= capture.at_ns <= time.monotonic_ns()
    beats.rest("capture")
    assert names(beats) == {"sink udp"}
    with beats.busy("a" * 16):
        assert names(beats) == {"sink udp", "a" * 16}
    beats.finish()
    assert names(beats) == {"finish"}
    beats.close()
    beats.close()


def test_names_that_do_not_fit() -> None:
    beats = Heartbeats.create()
    for name in ("", "a" * 17, "é" * 9):
        with pytest.raises(ValueError, match="16 bytes"):
            beats.beat(name)
    most = 3 + 2 * MOST_CAMERAS
    for k in range(most):
        beats.beat(f"{k}")
    with pytest.raises(ValueError, match=f"more than {most}"):
        beats.beat("one more")
    beats.close()


def test_work_is_due_while_a_frame_is_not_published() -> None:
    beats = Heartbeats.create()
    beats.captured(1)
    assert names(beats) == {"work"}
    first = beats.due()[0].at_ns
    beats.captured(3)  # a frame more is no sign of work
    assert beats.due()[0].at_ns == first
    beats.published()
    assert names(beats) == {"work"} and beats.due()[0].at_ns > first
    beats.published()
    beats.published()
    assert names(beats) == set()
    # Records are written later, by other threads; until then a frame counts as lost.
    assert beats.account().lost == 3
    for state in ("ok", "dropped", "failed"):
        beats.ended(state)
    assert beats.account() == FrameAccount(captured=3, ok=1, dropped=1, failed=1)
    beats.close()


@given(st.lists(st.sampled_from(["capture", "ok", "late", "dropped", "failed"])))
def test_the_account_always_adds_up(steps: list[str]) -> None:
    beats = Heartbeats.create()
    captured = published = 0
    for step in steps:
        if step == "capture":
            captured += 1
            beats.captured(captured)
        elif beats.account().lost:
            published += 1
            beats.published()
            beats.ended(step)
        account = beats.account()
        ends = account.ok + account.late + account.dropped + account.failed
        assert captured == account.captured == ends + account.lost
        assert (captured > published) == ("work" in names(beats))
    beats.close()


def test_the_frames_of_several_cameras_add_up() -> None:
    beats = Heartbeats.create()
    beats.captured(2, camera=1)
    beats.captured(5, camera=2)
    beats.captured(3, camera=1)
    assert beats.account().captured == 8
    limits = HealthConfig(limits={"capture": Limits(warn_ms=7, fatal_ms=8)})
    assert limits.limits_of("capture 2").warn_ms == limits.limits_of("capture").warn_ms == 7
    assert limits.limits_of("first 16") == HealthConfig().limits_of("first")
    beats.close()


def test_two_threads_leave_the_account_and_the_heartbeat_right() -> None:
    beats = Heartbeats.create()

    def capture() -> None:
        for k in range(5000):
            beats.captured(k + 1)

    thread = threading.Thread(target=capture)
    thread.start()
    done = 0
    while done < 5000:
        if beats.account().lost:
            beats.published()
            beats.ended("ok")
            done += 1
    thread.join()
    assert beats.account() == FrameAccount(captured=5000, ok=5000) and not beats.due()
    beats.close()


def test_what_a_process_wrote_outlives_it() -> None:
    code = (
        "import os\nfrom rille.health.beats import Heartbeats\n"
        "beats = Heartbeats.inherited(os.environ)\n"
        "beats.run(); beats.captured(7); beats.ended('ok'); beats.beat('capture')\n"
        "assert Heartbeats.inherited(os.environ) is None\nos.abort()"
    )
    beats = Heartbeats.create()
    environment = {**os.environ, VARIABLE: str(beats.file)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, pass_fds=[beats.file], timeout=60
    )
    assert done.returncode == -6 and beats.running
    assert names(beats) == {"work", "capture"} and beats.account().lost == 6
    beats.close()


@pytest.mark.parametrize("text", ["", "x", "-1", "99999", "9" * 30, "0"])
def test_a_variable_that_names_no_memory(text: str) -> None:
    with pytest.raises(ConfigError, match="unset it"):
        Heartbeats.inherited({VARIABLE: text})


def test_a_file_that_is_no_heartbeat_memory() -> None:
    file = os.memfd_create("other")
    os.ftruncate(file, 8192)
    with pytest.raises(ConfigError, match="unset it"):
        Heartbeats.inherited({VARIABLE: str(file)})
    os.close(file)


def test_a_watched_source_is_that_source(tmp_path: Path) -> None:
    beats = Heartbeats.create()
    with open_source("sim://moon?frames=3&size=64x48&realtime=0") as plain:
        watched = WatchedSource(plain, beats)
        assert (watched.length, watched.uri, watched.realtime) == (3, plain.uri, False)
        assert watched.describe() == plain.describe()
        frames = list(watched)
    assert [frame.index for frame in frames] == [0, 1, 2] and watched.ended
    assert beats.account().captured == 3 and names(beats) == {"work"}
    beats.close()


def test_a_watched_source_hides_nothing_of_the_contract() -> None:
    """What a source can do and `WatchedSource` does not hand on would be the base class's."""
    offered = {name for name in vars(Source) if not name.startswith("_")} | {"_next"}
    inherited = offered - set(vars(WatchedSource))
    assert not inherited, f"WatchedSource must hand on {inherited}"


def test_a_frame_that_cannot_be_decoded_is_captured_too(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    beats = Heartbeats.create()
    with open_source(f"images://{tmp_path}") as plain:
        watched = WatchedSource(plain, beats)
        with pytest.raises(FrameDecodeError):
            watched.read(1.0)
    assert beats.account().captured == 1
    beats.close()


def test_restarts_are_capped_with_growing_pauses() -> None:
    now = [0]
    cap = RestartCap(5, 60.0, clock=lambda: now[0])
    assert [cap.pause_s() for _ in range(6)] == [0.0, 0.1, 0.2, 0.4, 0.8, None]
    now[0] = 60_000_000_001
    assert cap.pause_s() == 0.0
    assert RestartCap(0, 60.0).pause_s() is None
    many = RestartCap(100, 60.0)
    assert [many.pause_s() for _ in range(20)][-1] == 5.0


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"limits": {"work": {"warn_ms": 0.0}}}, "warn_ms"),
        ({"limits": {"work": {"warn_ms": 9e3, "fatal_ms": 1e3}}}, "warn_ms <= fatal_ms"),
        ({"restart": 3}, "did you mean 'restarts'"),
        ({"restarts": -1}, "restarts"),
        ({"within_s": 0}, "within_s"),
        ({"stop_ms": -5}, "stop_ms"),
    ],
)
def test_limits_that_make_no_sense(table: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(HealthConfig, table, "run.toml health", ConfigError)


def test_limits_by_name() -> None:
    config = HealthConfig(limits={"work": Limits(warn_ms=1, fatal_ms=2)})
    assert config.limits_of("work").fatal_ms == 2
    assert config.limits_of("start").fatal_ms > config.limits_of("capture").fatal_ms
    assert config.limits_of("sink udp") == Limits()


def test_exit_codes_in_words() -> None:
    assert in_words(3) == "exit code 3"
    assert in_words(-11) == "killed by SIGSEGV"
    assert in_words(-99) == "killed by signal 99"


def test_the_ledger_leaves_earlier_parts_alone(tmp_path: Path) -> None:
    (tmp_path / "part-004").mkdir()
    (tmp_path / "part-x").mkdir()
    ledger = Ledger(tmp_path, print)
    assert ledger.begin_part() == tmp_path / "part-005"
    ledger.end_part(Ending(code=-9, text="killed"), FrameAccount(captured=5, ok=3))
    ledger.begin_part()
    ledger.end_part(Ending(code=0, text="exit code 0"), FrameAccount(captured=2, late=2))
    ledger.state("ended", None)
    table = json.loads((tmp_path / "supervisor.json").read_text())
    assert table["account"] == {
        "captured": 7,
        "ok": 3,
        "late": 2,
        "dropped": 0,
        "failed": 0,
        "lost": 2,
    }
    assert [row["part"] for row in table["parts"]] == [5, 6] and table["restarts"] == 1
    assert json.loads((tmp_path / "part-005" / "account.json").read_text())["lost"] == 2


def test_a_ledger_whose_folder_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="file: cannot be written"):
        Ledger(tmp_path / "file", print)


def test_a_disk_that_fills_later_costs_the_record_alone(tmp_path: Path) -> None:
    said: list[str] = []
    ledger = Ledger(tmp_path / "out", said.append)
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    (tmp_path / "out").rmdir()
    events = EventLog()
    events.listen(ledger.event)
    events.emit("CHILD_RESTARTED", "again")
    ledger.state("running", 1)
    assert len(said) == 3 and "cannot be written" in said[1] and "cannot be written" in said[2]


class Systemd:
    """A socket that takes what a service says."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(0.2)

    def heard(self) -> list[str]:
        said = []
        try:
            while True:
                said.append(self._socket.recv(4096).decode())
        except TimeoutError:
            return said

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize("abstract", [False, True])
def test_what_systemd_is_told(tmp_path: Path, abstract: bool) -> None:
    name = f"rille-test-{os.getpid()}"
    systemd = Systemd(f"\0{name}" if abstract else str(tmp_path / name))
    environment = {
        "NOTIFY_SOCKET": f"@{name}" if abstract else str(tmp_path / name),
        "WATCHDOG_USEC": "3000000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    events = EventLog()
    notifier = Notifier(environment, events)
    assert notifier.watchdog_s == 1.5
    notifier.ready()
    notifier.feed_watchdog()
    notifier.status("flies\nwell")
    notifier.status("flies\nwell")
    notifier.stopping()
    assert systemd.heard() == ["READY=1", "WATCHDOG=1", "STATUS=flies well", "STOPPING=1"]
    assert not events.counts
    systemd.close()


@pytest.mark.parametrize("address", ["/no/such/socket", "relative", "@nobody-listens", "/" * 300])
def test_a_socket_that_leads_nowhere_is_told_once(address: str) -> None:
    events = EventLog()
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"}, events)
    for _ in range(5):
        notifier.ready()
        notifier.feed_watchdog()
    assert events.counts == {"NOTIFY_UNREACHABLE": 1}


def test_without_systemd_nothing_is_said() -> None:
    events = EventLog()
    notifier = Notifier({"WATCHDOG_USEC": "1000"}, events)
    assert notifier.ready() and notifier.watchdog_s is None and not events.counts


@pytest.mark.parametrize(
    "more",
    [
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "9" * 40},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
    ],
)
def test_a_watchdog_that_is_not_for_us(more: dict[str, str]) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/x", **more}, EventLog()).watchdog_s is None


def test_a_full_socket_blocks_nobody_and_is_tried_again(tmp_path: Path) -> None:
    systemd = Systemd(str(tmp_path / "s"))
    events = EventLog()
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "s")}, events)
    began = time.monotonic()
    for _ in range(5000):
        notifier.feed_watchdog()
    assert time.monotonic() - began < 20
    assert not notifier.ready()
    assert set(systemd.heard()) == {"WATCHDOG=1"}
    assert notifier.ready() and systemd.heard() == ["READY=1"] and not events.counts
    systemd.close()
