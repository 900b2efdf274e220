"""A run under its supervisor: a bundle that does not fly well goes, one that does stays."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rille.bundle import Bundle, install, load_bundle, read_slots, roll_back, write_bundle
from rille.site.probation import on_probation

NOTHING: Callable[[Path], None] = lambda slot: None  # noqa: E731


class Flight:
    """`rille run` from a site, as a program of its own."""

    def __init__(self, folder: Path, site: Path) -> None:
        self.out, self._site = folder / "out", site
        pictures = folder / "camera"
        pictures.mkdir()
        for k in range(4):
            noise = np.random.default_rng(k).integers(0, 256, (64, 96, 3), np.uint8)
            assert cv2.imwrite(str(pictures / f"{k}.png"), noise)
        self._source = f"images://{pictures}?fps=40&loop=1"
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *words: str, **settings: Any) -> subprocess.Popen[str]:
        settings = {
            "classify.bundle": self._site,
            "segment.bundle": '""',
            "output.video": "false",
            "output.report": "false",
            "health.probation_s": 0,
            **settings,
        }
        given = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        command = [sys.executable, "-m", "rille", "run", "--source", self._source, *words]
        run = subprocess.Popen(
            [*command, "--out", str(self.out), *given], stderr=subprocess.PIPE, text=True
        )
        self.running.append(run)
        return run

    def again(self, name: str, installed: Path) -> None:
        """Go on with a folder and a site of its own."""
        self.out = self.out.parent / name
        self._site = Path(shutil.copytree(installed, self.out.parent / f"{name}-site"))

    def child(self) -> int | None:
        table = self.table()
        return table["child_pid"] if table.get("state") == "running" else None

    def table(self) -> dict[str, Any]:
        try:
            table: dict[str, Any] = json.loads((self.out / "supervisor.json").read_text())
        except FileNotFoundError:
            return {"part": -1}
        return table

    def records(self, part: int | None = None) -> list[dict[str, Any]]:
        folder = self.out if part is None else self.out / f"part-{part:03d}"
        path = folder / "results.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def flown(self, part: int | None = None) -> list[str]:
        """Return the digests of what answered."""
        return [r["bundles"]["classify"] for r in self.records(part) if r.get("classification")]

    def events(self) -> list[dict[str, Any]]:
        path = self.out / "events.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]


def until(true: Callable[[], Any], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def flight(tmp_path: Path, site: Path) -> Iterator[Flight]:
    made = Flight(tmp_path, site)
    yield made
    for run in made.running:
        if run.poll() is None:
            run.send_signal(signal.SIGTERM)
            run.communicate(timeout=60)


def killed_in_part(flight: Flight, part: int) -> int:
    """Kill the run of a part in flight, once it has answered a frame; return when."""
    until(lambda: flight.table()["part"] == part and flight.child() and flight.flown(part))
    child = flight.child()
    assert child is not None
    os.kill(child, signal.SIGKILL)
    return time.monotonic_ns()


def test_a_bundle_whose_run_dies_again_and_again_is_rolled_back(
    flight: Flight, site: Path, mars_bundle: Bundle, newer: Bundle
) -> None:
    """Killed in flight three times; the old one flies on, before the restarts are used up."""
    run = flight.start("--supervised", **{"health.restarts": 2})
    for part in range(3):
        killed_in_part(flight, part)
    until(lambda: len(flight.flown(3)) > 3)
    killed_in_part(flight, 3)  # whose restarts all lie before it
    until(lambda: len(flight.flown(4)) > 3)
    run.send_signal(signal.SIGTERM)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 0 and "Traceback" not in said, said
    digests = [set(flight.flown(part)) for part in range(5)]
    assert digests == [{newer.digest}] * 3 + [{mars_bundle.digest}] * 2
    told = [event for event in flight.events() if event["event"] == "BUNDLE_ROLLED_BACK"]
    assert len(told) == 1 and told[0]["severity"] == "WARNING_HI"
    assert told[0]["values"]["rejected"] == newer.digest and told[0]["values"]["starts"] == 3
    table = flight.table()
    assert table["rolled_back"] == [told[0]["values"]] and table["state"] == "ended"
    for row in [*table["parts"], table["account"]]:
        ends = sum(row[key] for key in ("ok", "late", "dropped", "failed", "lost"))
        assert row["captured"] == ends
    assert read_slots(site).rejection(newer.digest) is not None


def test_restarts_that_are_used_up_first_go_back_too(
    flight: Flight, installed: Path, mars_bundle: Bundle
) -> None:
    """And how soon: with RILLE_ROLLBACKS=20 and `pytest -rP` it tells of twenty."""
    took_ms = []
    for turn in range(int(os.environ.get("RILLE_ROLLBACKS", "1"))):
        flight.again(f"turn-{turn}", installed)
        run = flight.start("--supervised", **{"health.restarts": 0})
        killed_ns = killed_in_part(flight, 0)
        until(lambda: flight.flown(1))
        first = next(r for r in flight.records(1) if r.get("classification"))
        took_ms.append((first["published_ns"] - killed_ns) / 1e6)
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=60)
        assert set(flight.flown(1)) == {mars_bundle.digest}
        assert [event["event"] for event in flight.events()] == [
            "BUNDLE_ROLLED_BACK",
            "CHILD_RESTARTED",
        ]
    p50, p95 = np.percentile(took_ms, [50, 95])
    sys.stdout.write(
        f"from the death to the first answer of the bundle before: p50 {p50:.0f} ms, "
        f"p95 {p95:.0f} ms, most {max(took_ms):.0f} ms (n = {len(took_ms)})\n"
    )


def test_a_bundle_that_cannot_be_loaded_as_it_should_is_rolled_back_at_once(
    flight: Flight, site: Path, mars_bundle: Bundle, newer: Bundle, tmp_path: Path
) -> None:
    """Its trial ran the preferred network; the configuration asks for one that it lacks."""
    roll_back(site, NOTHING)
    renamed = {"renamed": newer.manifest.variants["tflite-int8"]}
    other = replace(newer.manifest, version="11.0.0", variants=renamed)
    install(write_bundle(tmp_path / "other", other, newer.files), site, NOTHING)
    flight.start("--supervised", **{"classify.variant": "tflite-int8"})
    until(lambda: flight.flown(1))
    assert set(flight.flown(1)) == {mars_bundle.digest}
    assert flight.table()["parts"][0]["code"] == 4


def test_a_bundle_that_flies_well_is_confirmed_even_one_taken_up_in_flight(
    flight: Flight, site: Path, third: Bundle
) -> None:
    run = flight.start("--supervised", **{"health.probation_frames": 10})
    until(lambda: on_probation(site) is None)
    install(third, site, NOTHING)
    entry = on_probation(site)
    assert entry is not None and entry.starts == 0
    run.send_signal(signal.SIGHUP)
    until(lambda: on_probation(site) is None)
    run.send_signal(signal.SIGTERM)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 0 and load_bundle(site).digest == third.digest
    events = [r["event"] for r in flight.records(0) if "event" in r]
    assert events.count("BUNDLE_CONFIRMED") == 2 and said.count("has proven itself") == 2


def test_a_bundle_that_was_taken_up_in_flight_is_on_probation_too(
    flight: Flight, site: Path, mars_bundle: Bundle, newer: Bundle
) -> None:
    """Taking it up is its first start: here its only one."""
    roll_back(site, NOTHING)
    run = flight.start("--supervised", **{"health.probation_tries": 1})
    until(lambda: flight.flown(0))
    roll_back(site, NOTHING)
    run.send_signal(signal.SIGHUP)
    until(lambda: flight.flown(0)[-1] == newer.digest)
    killed_in_part(flight, 0)
    until(lambda: flight.flown(1))
    assert set(flight.flown(1)) == {mars_bundle.digest}
    assert [e["event"] for e in flight.events()].count("BUNDLE_ROLLED_BACK") == 1


def test_a_board_that_resets_under_a_supervised_run(
    flight: Flight, mars_bundle: Bundle, newer: Bundle
) -> None:
    """Nobody is left to count afterwards: the start was counted before it happened."""
    run = flight.start("--supervised", **{"health.probation_tries": 1})
    until(lambda: flight.child() and flight.flown(0))
    child = flight.child()
    assert child is not None and set(flight.flown(0)) == {newer.digest}
    run.kill()
    os.kill(child, signal.SIGKILL)
    run.communicate(timeout=60)
    flight.start("--supervised", **{"health.probation_tries": 1})
    until(lambda: flight.flown(1))
    assert set(flight.flown(1)) == {mars_bundle.digest}
    assert [event["event"] for event in flight.events()] == ["BUNDLE_ROLLED_BACK"]


def test_an_unsupervised_run_counts_and_goes_back_by_itself(
    flight: Flight, site: Path, mars_bundle: Bundle, newer: Bundle
) -> None:
    """A board that is reset in flight twice, and once told to end: that start is taken back."""

    def starts() -> int | None:
        entry = on_probation(site)
        return None if entry is None else entry.starts

    for number, count in ((signal.SIGKILL, 1), (signal.SIGTERM, 1), (signal.SIGKILL, 2)):
        (flight.out / "results.jsonl").unlink(missing_ok=True)
        run = flight.start(**{"health.probation_tries": 2})
        until(flight.flown)
        assert set(flight.flown()) == {newer.digest}
        run.send_signal(number)
        run.communicate(timeout=60)
        assert starts() == count
    run = flight.start(**{"health.probation_tries": 2, "output.limit": 5})
    _, said = run.communicate(timeout=60)
    assert run.returncode == 0 and set(flight.flown()) == {mars_bundle.digest}
    told = [r for r in flight.records() if r.get("event") == "BUNDLE_ROLLED_BACK"]
    assert len(told) == 1 and told[0]["severity"] == "WARNING_HI"
    assert "flies again, in the place of mars-msl24 9.9.9" in said
