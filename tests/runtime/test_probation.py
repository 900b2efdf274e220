"""A newly installed bundle has to prove itself in flight; one that does not goes back by itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rille.bundle import Bundle, install, load_bundle, read_slots, roll_back
from rille.bundle.restore import load_sound
from rille.errors import BundleError, ConfigError
from rille.health.beats import FrameAccount
from rille.health.probation import Probation, says_nothing
from rille.health.settings import HealthConfig
from rille.site.probation import confirm, count_start, fall_back, on_probation, spare_start
from rille.site.slots import MOST_REJECTED, SLOTS, locked, write_slots

Rille = Callable[..., int]
NOTHING: Callable[[Path], None] = lambda slot: None  # noqa: E731


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
    rille: Rille, site: Path, newer: Bundle, capsys: pytest.CaptureFixture[str], third: Bundle
) -> None:
    fall_back(site, newer.digest, "it died")
    install(third, site, NOTHING)
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


def test_a_bundle_on_probation_keeps_its_way_back(site: Path, newer: Bundle, third: Bundle) -> None:
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
    monkeypatch.setattr("rille.site.slots._PATIENCE_S", 0.05)
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
