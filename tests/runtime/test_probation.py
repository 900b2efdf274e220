"""A newly installed bundle has to prove itself in flight; one that does not goes back by itself."""

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
from rille.bundle.restore import load_sound
from rille.errors import BundleError, ConfigError
from rille.health.beats import FrameAccount
from rille.health.probation import Probation, says_nothing
from rille.health.settings import HealthConfig
from rille.site.probation import confirm, count_start, fall_back, on_probation, spare_start
from rille.site.slots import MOST_REJECTED, SLOTS, locked, write_slots

Rille = Callable[..., int]
NOTHING: Callable[[Path], None] = lambda slot: None  # noqa: E731


def version(bundle: Bundle, number: str, folder: Path) -> Bundle:
    """Return the same network under another version."""
    return write_bundle(folder / number, replace(bundle.manifest, version=number), bundle.files)


@pytest.fixture(scope="module")
def newer(mars_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return version(mars_bundle, "9.9.9", tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def installed(mars_bundle: Bundle, newer: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped bundle, and one on probation that flies instead of it."""
    folder = tmp_path_factory.mktemp("installed") / "site"
    for bundle in (mars_bundle, newer):
        install(bundle, folder, NOTHING)
    return folder


@pytest.fixture
def site(tmp_path: Path, installed: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(installed, tmp_path / "site"))


def heard(sites: list[Path], tries: int = 3) -> tuple[Probation, list[tuple[str, str]]]:
    """Return the probation of a run, and the list into which its events go."""
    events: list[tuple[str, str]] = []
    told = Probation(
        sites, tries, lambda name, text, values: events.append((name, text)), lambda text: None
    )
    return told, events


def test_starts_are_counted_and_spared_and_the_good_are_confirmed(
    site: Path, mars_bundle: Bundle, newer: Bundle
) -> None:
    assert [count_start(site), count_start(site)] == [1, 2]
    spare_start(site)
    entry = on_probation(site)
    assert entry is not None and (entry.starts, entry.version) == (1, "9.9.9")
    assert confirm(site, mars_bundle.digest) is None, "another bundle was meant"
    assert confirm(site, newer.digest) is not None and on_probation(site) is None
    assert count_start(site) is None
    with pytest.raises(BundleError, match="not on probation there any more"):
        fall_back(site, newer.digest, "too late")


def test_the_first_bundle_of_a_site_has_nothing_to_go_back_to(
    tmp_path: Path, mars_bundle: Bundle
) -> None:
    install(mars_bundle, tmp_path / "site", NOTHING)
    assert on_probation(tmp_path / "site") is None and on_probation(tmp_path) is None


def test_used_up_starts_go_back(site: Path, mars_bundle: Bundle, newer: Bundle) -> None:
    """Three starts that nobody took back, as a board leaves them that is reset in flight."""
    told, events = heard([site, site / "..", site.parent / "nowhere"])
    for _ in range(3):
        told.begin()
        assert load_bundle(site).digest == newer.digest and not events
    told.begin()
    assert [name for name, _ in events] == ["BUNDLE_ROLLED_BACK"]
    assert "mars-msl24 9.9.9" in events[0][1] and "started 3 times" in events[0][1]
    assert load_bundle(site).digest == mars_bundle.digest
    told.begin()
    assert len(events) == 1


def test_a_rejected_bundle_comes_back_by_force_alone(
    rille: Rille, site: Path, mars_bundle: Bundle, newer: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    fall_back(site, newer.digest, "it died")
    assert rille("bundle", "slots", site) == 0
    good, bad = capsys.readouterr().out.splitlines()
    assert "flies" in good and good.endswith("good") and bad.endswith(": it died")
    assert rille("bundle", "install", newer.where, "--into", site) == 4
    said = capsys.readouterr().err
    assert "was rejected" in said and "--force" in said and said.count("\n") == 1
    assert rille("bundle", "rollback", site) == 4
    assert "was rejected" in capsys.readouterr().err
    # What was rejected does not come back when the good one is damaged, either.
    model = site / "a" / "model.int8.tflite"
    whole = model.read_bytes()
    model.write_bytes(b"")
    with pytest.raises(BundleError):
        load_sound(site)
    model.write_bytes(whole)
    assert rille("bundle", "install", newer.where, "--into", site, "--force") == 0
    assert "flies mars-msl24 9.9.9" in (out := capsys.readouterr().out)
    assert "on probation (0 starts so far)" in out and ", rejected" not in out
    assert load_bundle(site).digest == newer.digest


def test_what_was_rejected_is_remembered_when_its_slot_is_filled_anew(
    rille: Rille, site: Path, newer: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fall_back(site, newer.digest, "it died")
    install(version(newer, "10.0.0", tmp_path / "made"), site, NOTHING)
    with pytest.raises(BundleError, match="was rejected"):
        install(newer, site, NOTHING)
    rille("bundle", "slots", site)
    assert "no longer holds mars-msl24 9.9.9" in capsys.readouterr().out
    row = read_slots(site).rejected[0]
    many = replace(read_slots(site), rejected=(row,) * (MOST_REJECTED + 9))
    write_slots(site, many)
    assert on_probation(site) is not None
    fall_back(site, load_bundle(site).digest, "it died too")
    assert len(read_slots(site).rejected) == MOST_REJECTED


def test_a_bundle_on_probation_keeps_its_way_back(
    site: Path, newer: Bundle, tmp_path: Path
) -> None:
    third = version(newer, "10.0.0", tmp_path / "made")
    with pytest.raises(BundleError, match="still on probation"):
        install(third, site, NOTHING)
    install(third, site, NOTHING, force=True)
    fall_back(site, third.digest, "it died")
    entry = on_probation(site)
    assert entry is not None and entry.digest == newer.digest, "it has yet to prove itself, too"
    with pytest.raises(BundleError, match="was rejected itself"):
        fall_back(site, newer.digest, "it died as well")


def test_what_is_damaged_is_not_gone_back_to(site: Path, newer: Bundle) -> None:
    (site / "a" / "model.int8.tflite").write_bytes(b"damaged")
    told, events = heard([site], tries=1)
    told.begin()
    assert not told.roll_back("it died") and not told.roll_back("it died again")
    assert [name for name, _ in events] == ["ROLLBACK_FAILED"] and "9.9.9" in events[0][1]
    assert load_bundle(site).digest == newer.digest and told.used_up
    (site / "a" / "manifest.json").write_bytes(b"{}")
    with pytest.raises(BundleError, match="is not the bundle that was installed"):
        fall_back(site, newer.digest, "it died")


def test_of_two_on_probation_nobody_knows_which(
    site: Path, installed: Path, tmp_path: Path, mars_bundle: Bundle
) -> None:
    other = Path(shutil.copytree(installed, tmp_path / "other"))
    told, events = heard([site, other], tries=2)
    told.begin()
    told.begin()
    assert told.roll_back("it died", used_up=True)
    assert [name for name, _ in events] == ["BUNDLE_ROLLED_BACK"] * 2
    assert all("which of 2 bundles on probation is to blame is not known" in t for _, t in events)
    assert {load_bundle(s).digest for s in (site, other)} == {mars_bundle.digest}


def test_a_site_that_cannot_be_counted_in_flies_all_the_same(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rille.site.probation._PATIENCE_S", 0.05)
    said: list[str] = []
    told = Probation([site], 3, lambda name, text, values: None, said.append)
    with locked(site):
        with pytest.raises(ConfigError, match="another installation is at work"):
            count_start(site)
        told.begin()
    assert len(said) == 1 and "starts on probation are not counted" in said[0]
    (site / SLOTS).write_text("{")
    told.begin()  # the run itself says what is wrong with it
    assert len(said) == 1


@pytest.mark.parametrize(
    ("code", "counts", "blameless"),
    [
        (0, {"captured": 5, "ok": 5}, True),
        (130, {"captured": 5}, True),
        (2, {}, True),
        (3, {}, True),
        (3, {"captured": 5, "ok": 4, "failed": 1}, True),
        (3, {"captured": 5, "failed": 5}, False),
        (1, {"captured": 5, "ok": 5}, False),
        (4, {}, False),
        (-9, {"captured": 5, "ok": 5}, False),
        (-11, {}, False),
    ],
)
def test_which_ends_speak_against_a_bundle(
    code: int, counts: dict[str, int], blameless: bool
) -> None:
    assert says_nothing(code, FrameAccount(**counts)) is blameless


def test_a_table_of_before_is_read_and_written_anew(site: Path, newer: Bundle) -> None:
    table = json.loads((site / SLOTS).read_text())
    del table["rejected"]
    for entry in table["slots"].values():
        del entry["starts"]
    (site / SLOTS).write_text(json.dumps({**table, "schema": 1}))
    assert on_probation(site) is None and read_slots(site).current == "b"
    roll_back(site, NOTHING)
    assert json.loads((site / SLOTS).read_text())["schema"] == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 3}, "schema 3 is not supported"),
        ({"rejected": [{"digest": "x"}]}, "lacks the key 'name'"),
        ({"rejected": {}}, "must be a list"),
        ({"probation": 1}, "has no key 'probation'"),
    ],
)
def test_bad_tables(site: Path, change: dict[str, Any], words: str) -> None:
    table = json.loads((site / SLOTS).read_text())
    (site / SLOTS).write_text(json.dumps({**table, **change}))
    with pytest.raises(BundleError, match=words):
        load_bundle(site)


@pytest.mark.parametrize("starts", [-1, "1", 1.5, 10**9])
def test_bad_counts(site: Path, starts: Any) -> None:
    table = json.loads((site / SLOTS).read_text())
    table["slots"]["b"]["starts"] = starts
    (site / SLOTS).write_text(json.dumps(table))
    with pytest.raises(BundleError, match="starts must be"):
        count_start(site)


@pytest.mark.parametrize(
    "wrong", [{"probation_tries": 0}, {"probation_frames": 0}, {"probation_s": -1.0}]
)
def test_bad_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="probation_"):
        HealthConfig(**wrong)


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
    flight: Flight, site: Path, newer: Bundle, tmp_path: Path
) -> None:
    run = flight.start("--supervised", **{"health.probation_frames": 10})
    until(lambda: on_probation(site) is None)
    third = version(newer, "10.0.0", tmp_path / "made")
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
