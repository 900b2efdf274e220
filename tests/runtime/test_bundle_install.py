"""Installing: whatever happens, a bundle that works flies."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rille.bundle import Bundle, install, load_bundle, read_slots, roll_back
from rille.errors import BundleError, CheckFailedError, ConfigError, DigestError, SinkError
from rille.site.slots import SLOTS

Rille = Callable[..., int]
NOTHING: Callable[[Path], None] = lambda slot: None  # noqa: E731


@pytest.fixture
def site(tmp_path: Path, mars_bundle: Bundle) -> Path:
    install(mars_bundle, tmp_path / "site", NOTHING)
    return tmp_path / "site"


def test_install_back_and_forth(
    rille: Rille, tmp_path: Path, newer: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole way as a user goes it, trial boots in processes of their own."""
    site = tmp_path / "deep" / "site"
    assert rille("bundle", "install", "mars-msl24", "--into", site, "--limit-ms", 5000) == 0
    said = capsys.readouterr()
    assert "trial boot: tflite-int8, golden answers within 0" in said.err
    assert said.out.startswith(f"{site / 'a'} flies mars-msl24 0.1.0")
    assert rille("bundle", "install", newer.where, "--into", site) == 0
    said = capsys.readouterr()
    assert f"{site / 'b'} flies mars-msl24 9.9.9" in said.out
    assert load_bundle(site).digest == newer.digest
    assert rille("bundle", "rollback", site) == 0
    assert load_bundle(site).manifest.version == "0.1.0"
    capsys.readouterr()
    assert rille("bundle", "slots", site) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and " flies " in lines[0] and " flies " not in lines[1]
    assert rille("bundle", "verify", site) == 0


def test_what_is_too_slow_does_not_fly(
    rille: Rille, site: Path, newer: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load_bundle(site).digest
    assert rille("bundle", "install", newer.where, "--into", site, "--limit-ms", "0.001") == 1
    said = capsys.readouterr().err
    assert "failed its trial boot" in said and "more than the 0.001 ms allowed" in said
    assert "goes on flying" in said and "Traceback" not in said
    assert load_bundle(site).digest == before
    assert not (site / "b").exists()


def test_wrong_golden_answers_do_not_fly(
    rille: Rille, site: Path, spoil: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(files: dict[str, bytes]) -> None:
        name = "golden.tflite-int8.logits.bin"
        files[name] = bytes([(files[name][0] + 40) % 256]) + files[name][1:]

    before = load_bundle(site).digest
    assert rille("bundle", "install", spoil(files=change, refresh=True), "--into", site) == 1
    assert "self-test failed" in capsys.readouterr().err
    assert load_bundle(site).digest == before


def test_a_trial_that_crashes_or_hangs(
    rille: Rille,
    site: Path,
    newer: Bundle,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another program in the interpreter's place ends as a broken engine would."""
    before = load_bundle(site).digest
    for script, words in (
        ("kill -SEGV $$", "it crashed (SIGSEGV)"),
        ("exec sleep 30", "the trial boot hung"),
        ("exit 3", "exit code 3"),
    ):
        program = site.parent / "python"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        monkeypatch.setattr("rille.cli.bundle_install._TRIAL_S", 0.5)
        assert rille("bundle", "install", newer.where, "--into", site) == 1
        assert words in capsys.readouterr().err
        assert load_bundle(site).digest == before


def test_another_task_is_refused(site: Path, craters_bundle: Bundle) -> None:
    with pytest.raises(
        BundleError, match=r"does segmentation, but what flies in .* does classification"
    ):
        install(craters_bundle, site, NOTHING)


def test_a_trial_that_fails_leaves_the_flying_one(site: Path, newer: Bundle) -> None:
    def fail(slot: Path) -> None:
        assert load_bundle(slot).digest == newer.digest
        raise CheckFailedError("no")

    before = load_bundle(site).digest
    with pytest.raises(CheckFailedError):
        install(newer, site, fail)
    assert load_bundle(site).digest == before
    with pytest.raises(BundleError, match="there is none to go back to"):
        roll_back(site, NOTHING)


def test_a_table_never_promises_what_is_being_written(
    site: Path, newer: Bundle, mars_bundle: Bundle
) -> None:
    """Of three bundles the oldest is gone once the third is being written."""
    install(newer, site, NOTHING)
    seen = []

    def look(slot: Path) -> None:
        seen.append(sorted(read_slots(site).slots))
        raise CheckFailedError("no")

    with pytest.raises(CheckFailedError):
        install(mars_bundle, site, look, force=True)
    assert seen == [["b"]]
    assert load_bundle(site).digest == newer.digest


def test_no_room(site: Path, newer: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    before = load_bundle(site).digest
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SinkError, match="No space left"):
        install(newer, site, NOTHING)
    assert load_bundle(site).digest == before
    assert sorted(p.name for p in site.iterdir()) == [".lock", "a", SLOTS]


def test_two_installations_at_once(site: Path, newer: Bundle) -> None:
    with (site / ".lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another installation is at work"):
            install(newer, site, NOTHING)


def test_a_run_that_notes_something_does_not_keep_an_installation_away(
    site: Path, newer: Bundle
) -> None:
    with (site / ".lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        threading.Timer(0.2, fcntl.flock, (held, fcntl.LOCK_UN)).start()
        install(newer, site, NOTHING)
    assert load_bundle(site).digest == newer.digest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ('{"current": "a"}', "must be a filled slot"),
        ('{"current": "c", "slots": {}}', "must be a filled slot"),
        ('{"schema": 7, "current": "a", "slots": {}}', "schema 7"),
        ('{"current": "a", "slots": {"a": {"name": 3}}}', "must be a text"),
    ],
)
def test_a_damaged_table(site: Path, text: str, words: str) -> None:
    (site / SLOTS).write_text(text)
    with pytest.raises(BundleError, match=words):
        load_bundle(site)


def test_a_slot_that_holds_something_else(site: Path, newer: Bundle) -> None:
    table = json.loads((site / SLOTS).read_text())
    table["slots"]["a"]["digest"] = newer.digest
    (site / SLOTS).write_text(json.dumps(table))
    with pytest.raises(DigestError, match="is not the bundle that was installed"):
        load_bundle(site)


def test_a_damaged_bundle_does_not_keep_its_repair_away(
    site: Path, newer: Bundle, mars_bundle: Bundle
) -> None:
    install(newer, site, NOTHING)
    (site / "b" / "model.int8.tflite").write_bytes(b"damaged")
    with pytest.raises(DigestError):
        load_bundle(site)
    install(mars_bundle, site, NOTHING)
    assert load_bundle(site).digest == mars_bundle.digest


def test_places_where_nothing_is_installed(tmp_path: Path, rille: Rille) -> None:
    with pytest.raises(BundleError, match="nothing was installed there"):
        read_slots(tmp_path)
    (tmp_path / "file").write_text("in the way")
    assert rille("bundle", "install", "mars-msl24", "--into", tmp_path / "file") == 3


CHILD = """
import sys
from pathlib import Path
from rille.bundle import install, load_bundle
print("ready", flush=True)
install(load_bundle(sys.argv[1]), Path(sys.argv[2]), lambda slot: None, force=True)
"""


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_bundle_that_works(
    site: Path, newer: Bundle, mars_bundle: Bundle
) -> None:
    """Installations killed after 0 to 1.3 times what one takes when left alone."""

    def start(source: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, source, str(site)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        return child

    began = time.perf_counter_ns()
    with start(newer.where) as child:
        assert child.wait() == 0
    whole_s = (time.perf_counter_ns() - began) / 1e9
    assert load_bundle(site).digest == newer.digest
    for turn in range(30):
        source = newer.where if turn % 2 else mars_bundle.where
        with start(source) as child:
            time.sleep(turn / 30 * 1.3 * whole_s)
            child.send_signal(signal.SIGKILL)
        assert load_bundle(site).digest in {newer.digest, mars_bundle.digest}
    install(newer, site, NOTHING, force=True)
    assert load_bundle(site).digest == newer.digest
    assert sorted(p.name for p in site.iterdir()) == [".lock", "a", "b", SLOTS]
