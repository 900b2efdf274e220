"""Whatever is written, killed at every system call: readers find the old or the new, never a part.

The child is killed as it enters a system call, for every one that can change a file (see
`tests/crash/trace.py`). That is a process that dies, not a power cut: what a power cut needs
besides, that content is on the disk before its name is, is looked up in the order of the calls.

`make crash` tries every such call, in about a minute; without it every seventh is tried.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.crash.trace import CannotTraceError, calls, killed_at
from tests.runtime.recorded import record, worked
from tests.small_bundle import shrunk

from rille.bundle import (
    Bundle,
    install,
    load_bundle,
    pack,
    read_slots,
    roll_back,
    write_bundle,
)
from rille.errors import BundleError, SourceError
from rille.files import exchange, write_whole
from rille.plan import Kept, Plan, _keep, _kept
from rille.recording import open_recording
from rille.sinks.jsonl import JsonLines, read_lines, rotated
from rille.site.probation import confirm, count_start, fall_back, spare_start

MOST = 5000
STEP = int(os.environ.get("RILLE_CRASH_STEP", "7"))
Work = Callable[[], object]


@pytest.fixture(autouse=True)
def _can_trace() -> Iterator[None]:
    gc.collect()
    with warnings.catch_warnings():
        # Python 3.12 warns of a fork beside threads; the child here starts none and ends by _exit.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            killed_at(0, lambda: None)
        except CannotTraceError as wrong:
            pytest.skip(f"crash points cannot be tried: {wrong}")
        yield


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory, where there is one: thousands of syncs to a disk take minutes."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture
def versions(tmp_path: Path, mars_bundle: Bundle) -> list[Bundle]:
    """Three versions of a bundle of a few hundred bytes, so that hundreds can be written."""
    made = []
    for number in range(3):
        manifest, files = shrunk(mars_bundle, 40, number, version=f"{number}.0.0")
        made.append(write_bundle(tmp_path / "made" / str(number), manifest, files))
    return made


def every_point(folder: Path, before: Work, work: Work, check: Callable[[bool], None]) -> int:
    """Kill `work` at every `STEP`-th of its calls, always from one beginning; return how many.

    Args:
        folder: what is written; emptied before each turn.
        before: makes the beginning.
        work: what is killed.
        check: called after each kill, with whether it was done before it could be killed.
    """
    for number in range(0, MOST, STEP):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        before()
        killed = killed_at(number, work)
        check(not killed)
        if not killed:
            sys.stdout.write(f"killed at {len(range(0, number, STEP))} places\n")
            return number
    raise AssertionError(f"still at work after {MOST} calls")


def test_a_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x" / "state.json"
    seen = set()

    def check(done: bool) -> None:
        seen.add(path.read_text())
        assert not done or path.read_text() == "new" * 4000

    points = every_point(
        path.parent,
        lambda: write_whole(path, "old"),
        lambda: write_whole(path, "new" * 4000),
        check,
    )
    assert seen == {"old", "new" * 4000} and points >= 4


def test_a_bundle_is_replaced_in_one_step(tmp_path: Path, versions: list[Bundle]) -> None:
    folder = tmp_path / "x" / "bundle"
    old, new = versions[:2]
    seen = set()

    def write(bundle: Bundle) -> None:
        write_bundle(folder, bundle.manifest, bundle.files)

    every_point(
        folder.parent,
        lambda: write(old),
        lambda: write(new),
        lambda done: seen.add(load_bundle(folder).digest),
    )
    assert seen == {old.digest, new.digest}


def test_a_packed_bundle_is_whole(tmp_path: Path, versions: list[Bundle]) -> None:
    path = tmp_path / "x" / "bundle.zip"
    old, new = versions[:2]
    seen = set()
    every_point(
        path.parent,
        lambda: pack(old, path),
        lambda: pack(new, path),
        lambda done: seen.add(load_bundle(path).digest),
    )
    assert seen == {old.digest, new.digest}


@pytest.mark.parametrize("installed", [1, 2])
def test_slots_are_switched_in_one_step(
    tmp_path: Path, versions: list[Bundle], installed: int
) -> None:
    """Into an empty slot, and into one that has to be emptied first."""
    site = tmp_path / "site"
    old, new = versions[installed - 1], versions[installed]
    seen = []

    def before() -> None:
        for bundle in versions[:installed]:
            install(bundle, site, lambda slot: None)

    def check(done: bool) -> None:
        seen.append(load_bundle(site).digest)
        if len(seen) % 10 == 1:  # whatever was left behind, it can be done again
            install(new, site, lambda slot: None, force=True)
            assert load_bundle(site).digest == new.digest
            assert not [p for p in site.iterdir() if p.name.startswith((".a.", ".b."))]

    every_point(site, before, lambda: install(new, site, lambda slot: None, force=True), check)
    assert set(seen) == {old.digest, new.digest}
    assert seen == sorted(seen, key=[old.digest, new.digest].index), "back to the old one"


def test_a_rollback_is_one_step(tmp_path: Path, versions: list[Bundle]) -> None:
    site = tmp_path / "site"
    seen = set()

    def before() -> None:
        for bundle in versions[:2]:
            install(bundle, site, lambda slot: None)

    every_point(
        site,
        before,
        lambda: roll_back(site, lambda slot: None),
        lambda done: seen.add(load_bundle(site).digest),
    )
    assert seen == {versions[0].digest, versions[1].digest}


@pytest.mark.parametrize("what", ["count", "spare", "confirm", "fall back"])
def test_probation_is_kept_in_one_step(tmp_path: Path, versions: list[Bundle], what: str) -> None:
    """The table is the old or the new one, and a bundle that is whole flies by either."""
    site, (old, new) = tmp_path / "site", versions[:2]
    seen = []

    def before() -> None:
        for bundle in (old, new):
            install(bundle, site, lambda slot: None)
        count_start(site)

    def check(done: bool) -> None:
        table = read_slots(site)
        assert load_bundle(site).digest == table.flying.digest
        assert set(table.slots) == {"a", "b"}
        seen.append((table.current, table.flying.starts, len(table.rejected)))
        assert not done or seen[-1] == ends

    work, ends = {
        "count": (lambda: count_start(site), ("b", 2, 0)),
        "spare": (lambda: spare_start(site), ("b", 0, 0)),
        "confirm": (lambda: confirm(site, new.digest), ("b", None, 0)),
        "fall back": (lambda: fall_back(site, new.digest, "it died"), ("a", None, 1)),
    }[what]
    every_point(site, before, work, check)
    assert seen == sorted(seen, key=[("b", 1, 0), ends].index), "back to the old one"
    assert set(seen) == {("b", 1, 0), ends}


def test_a_count_is_on_the_disk_before_the_start(tmp_path: Path, versions: list[Bundle]) -> None:
    """A board that is reset in flight must find the start counted: synced, file and folder."""
    site = tmp_path / "site"
    for bundle in versions[:2]:
        install(bundle, site, lambda slot: None)
    made = [(call.name, about) for call, about in calls(lambda: count_start(site)) if about]
    ours = [(name, Path(about).name) for name, about in made if about.startswith(str(site))]
    if not ours:
        pytest.skip("the calls of this processor are not known by number")
    partial = ".slots.json.partial"
    wanted = [("write", partial), ("fsync", partial), ("rename", partial), ("fsync", "site")]
    assert [(name.rstrip("at2"), file) for name, file in ours] == wanted


def test_lines_before_the_last_are_whole_through_rotations(tmp_path: Path) -> None:
    path = tmp_path / "x" / "results.jsonl"
    results = [worked(index) for index in range(12)]
    most = []

    def work() -> None:
        sink = JsonLines(path, max_bytes=2500, keep=9)
        for result in results:
            sink.write(result)
        sink.close()

    def check(done: bool) -> None:
        found = [r["frame"] for file in rotated(path) for r in read_lines(file)]
        assert found == list(range(len(found)))
        most.append(len(found))
        assert not done or len(found) == len(results)

    every_point(path.parent, lambda: None, work, check)
    assert most == sorted(most)
    assert STEP > 1 or len(set(most)) == len(results) + 1


def test_a_recording_can_be_read_up_to_where_it_was_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rille.recording.write.FLUSH_BYTES", 3000)
    path = tmp_path / "x" / "run.mcap"
    most: list[int] = []

    def check(done: bool) -> None:
        try:
            found = [frame.index for frame in open_recording(path).frames()]
        except SourceError:
            assert not most, "what could be read once cannot be read any more"
            return
        assert found == list(range(len(found)))
        most.append(len(found))
        assert not done or len(found) == 6

    every_point(
        path.parent,
        lambda: None,
        lambda: record(path, [worked(k) for k in range(6)]),
        check,
    )
    assert most == sorted(most)
    assert STEP > 1 or len(set(most)) >= 3


def test_plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    seen = set()
    every_point(
        tmp_path / "cache",
        lambda: _keep("k", Kept(Plan(threads=1))),
        lambda: _keep("k", Kept(Plan(threads=2))),
        lambda done: seen.add(_kept()["k"].plan.threads),
    )
    assert seen == {1, 2}


@pytest.mark.parametrize("what", ["file", "bundle", "zip"])
def test_content_is_on_the_disk_before_its_name(
    tmp_path: Path, versions: list[Bundle], what: str
) -> None:
    """A power cut takes what was not synced; a name must not outlive its content."""
    folder = tmp_path / "x"
    folder.mkdir()
    work: dict[str, Callable[[], Any]] = {
        "file": lambda: write_whole(folder / "a", "text"),
        "bundle": lambda: write_bundle(folder / "a", versions[0].manifest, versions[0].files),
        "zip": lambda: pack(versions[0], folder / "a"),
    }
    dirty: set[str] = set()
    renamed = 0
    for call, about in calls(work[what]):
        if not about.startswith(str(folder)):
            continue
        if call.name in ("write", "pwrite64", "writev", "ftruncate"):
            dirty.add(about)
        elif call.name in ("fsync", "fdatasync"):
            dirty.discard(about)
            renamed += renamed == 1 and about == str(folder)
        elif call.name.startswith("rename"):
            assert not dirty, f"renamed before {dirty} was synced"
            renamed += 1
    if not renamed:
        pytest.skip("the calls of this processor are not known by number")
    assert renamed == 2, "the folder was not synced after its new name"


def test_names_change_places(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    (one / "in").write_text("1")
    other.mkdir()
    if not exchange(one, other):
        pytest.skip("this file system cannot exchange names")
    assert (other / "in").read_text() == "1" and not (one / "in").exists()
    with pytest.raises(FileNotFoundError):
        exchange(one, tmp_path / "missing")


def test_a_site_without_a_table_says_so(tmp_path: Path) -> None:
    """The very first installation, killed: nothing flies, and it can be done again."""
    with pytest.raises(BundleError):
        load_bundle(tmp_path / "site")
