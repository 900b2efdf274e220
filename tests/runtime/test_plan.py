"""Sharing the cores between networks: measured, kept, never more threads than cores."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rille import plan as plans
from rille.bench import rendered
from rille.board import usable_cores
from rille.budget import Budget
from rille.bundle import Bundle, load_bundle
from rille.busy import OtherWork
from rille.cli.camera import build_pipeline
from rille.config import EngineConfig, RunConfig
from rille.frame import Frame
from rille.pipeline import Pipeline
from rille.plan import (
    Plan,
    Timed,
    candidates,
    default_threads,
    fastest,
    measure_plans,
    plan_for,
)


@pytest.fixture
def pair() -> dict[str, Bundle]:
    return {"classify": load_bundle("mars-msl24"), "segment": load_bundle("moon-craters")}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where plans are kept, on a machine with nothing else to do."""
    monkeypatch.setattr(OtherWork, "share", lambda _: 0.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "rille" / "plans.json"


@given(st.integers(1, 64), st.integers(1, 2))
def test_no_plan_has_more_threads_than_cores(cores: int, networks: int) -> None:
    found = candidates(cores, networks)
    assert Plan(threads=1) in found
    assert all(plan.threads * (2 if plan.parallel else 1) <= cores for plan in found)
    assert any(plan.parallel for plan in found) == (networks == 2 and cores >= 2)


def test_a_plan_is_measured_once_and_kept(
    pair: dict[str, Bundle], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = plan_for(pair, backend="", threads=None, parallel=None)
    assert cache.is_file()

    def never(*_: object) -> list[Timed]:
        raise AssertionError("measured again")

    monkeypatch.setattr(plans, "measure_plans", never)
    assert plan_for(pair, backend="", threads=None, parallel=None) == first
    # What the caller settled is not measured at all.
    assert plan_for(pair, backend="", threads=3, parallel=None) == Plan(threads=3)
    assert plan_for(pair, backend="", threads=None, parallel=True).parallel
    # Other networks are another matter.
    with pytest.raises(AssertionError, match="measured again"):
        plan_for({"segment": pair["segment"]}, backend="", threads=None, parallel=None)


def test_a_plan_measured_on_a_busy_machine_is_measured_again_but_not_for_ever(
    pair: dict[str, Bundle], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only, measured = {"classify": pair["classify"]}, []

    def one_thread(*_: object) -> list[Timed]:
        measured.append(1)
        return [Timed(Plan(threads=1), 5.0, 6.0)]

    def start(others: float | None) -> int:
        """Return how many plans had been measured after another start."""
        monkeypatch.setattr(OtherWork, "share", lambda _: others)
        plan_for(only, backend="", threads=None, parallel=None)
        return len(measured)

    monkeypatch.setattr(plans, "measure_plans", one_thread)
    assert [start(others) for others in (0.5, 0.5, 0.02, 0.5)] == [1, 2, 3, 3]
    cache.unlink()
    measured.clear()
    assert [start(0.5) for _ in range(5)] == [1, 2, 3, 3, 3]
    cache.unlink()
    measured.clear()
    assert [start(None) for _ in range(3)] == [1, 1, 1]


def test_other_work_is_told_from_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "stat"
    file.write_text("cpu  1000 0 100 5000 50 0 10 40 30 0\ncpu0 1 2\n")
    watch = OtherWork(file)
    file.write_text("cpu  1400 0 200 5400 150 0 10 40 30 0\n")
    assert watch.share() == pytest.approx(0.5, abs=0.1)  # of 1000 ticks 500 were idle
    end_s = time.process_time() + 0.5
    while time.process_time() < end_s:
        pass
    assert watch.share() == pytest.approx(0.45, abs=0.03)  # 50 of 100 a second were this process's
    for text in ("", "cpu 1 2", "intr 1 2 3 4 5 6 7 8 9", "cpu a b c d e f g h"):
        file.write_text(text)
        assert watch.share() is None and OtherWork(file).share() is None
    file.unlink()
    assert watch.share() is None


@pytest.mark.parametrize(
    "junk", [b"", b"{", b"[1, 2]", b'{"k": 5}', b'{"k": [1, 0]}', b'{"k": ["x", 1]}', b"\xff"]
)
def test_a_damaged_file_of_plans_is_measured_over(
    junk: bytes, pair: dict[str, Bundle], cache: Path
) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_bytes(junk)
    only = {"classify": pair["classify"]}
    found = plan_for(only, backend="", threads=None, parallel=None)
    assert plan_for(only, backend="", threads=None, parallel=None) == found
    assert b'"' in cache.read_bytes()


def test_a_home_that_cannot_be_written_costs_a_measurement_only(
    pair: dict[str, Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    found = plan_for({"classify": pair["classify"]}, backend="", threads=None, parallel=None)
    assert found.threads >= 1


def test_slow_frames_count_as_much_as_usual_ones() -> None:
    steady, erratic = Plan(threads=1), Plan(threads=2)
    assert fastest([Timed(erratic, 5.0, 30.0), Timed(steady, 9.0, 10.0)]) == steady
    assert fastest([Timed(erratic, 5.0, 13.0), Timed(steady, 9.0, 10.0)]) == erratic


def test_measured_times_are_plausible(pair: dict[str, Bundle]) -> None:
    timed = measure_plans(pair)
    *usual, plain = (one.plan for one in timed)
    assert usual == candidates(usable_cores(), 2)
    assert plain.plain and replace(plain, plain=False) == fastest(timed[:-1])
    assert all(0 < one.p50_ms <= one.p90_ms for one in timed[:-1]) and timed[-1].p50_ms > 0
    named = measure_plans({"classify": pair["classify"]}, "litert-plain")
    assert [one.plan for one in named] == candidates(usable_cores(), 1)


def test_the_steps_of_the_files_are_taken_where_they_are_clearly_faster(
    pair: dict[str, Bundle],
) -> None:
    plan = Plan(threads=2)
    files = replace(plan, plain=True)
    usual = Timed(plan, 10.0, 11.0)
    assert fastest([usual, Timed(files, 9.9, 10.9)]) == plan
    assert fastest([usual, Timed(files, 9.5, 10.5)]) == files
    assert str(files) == "one after the other, 2 threads each, as their files are"
    names = {
        steps.plain: {n.backend.name for n in steps.load(pair, "").values()}
        for steps in (plan, files)
    }
    assert names[True] == {f"{name} plain" for name in names[False]}
    assert {n.backend.name for n in files.load(pair, "litert").values()} == names[False]


def test_a_plan_of_plain_steps_is_kept(pair: dict[str, Bundle], cache: Path) -> None:
    only, plain = {"classify": pair["classify"]}, Plan(threads=1, plain=True)
    plans.remember(only, plain)
    assert plan_for(only, backend="", threads=None, parallel=None) == plain


def test_answers_do_not_depend_on_the_plan(pair: dict[str, Bundle], cache: Path) -> None:
    pictures = rendered(320, 240)[:3]
    found = []
    for parallel in (False, True):
        with Pipeline(
            classify=pair["classify"],
            segment=pair["segment"],
            budget=Budget(frame_ms=60_000),
            threads=1,
            parallel=parallel,
        ) as pipeline:
            found.append(
                [
                    pipeline.run(Frame(pixels=p, index=k, captured_ns=time.monotonic_ns()))
                    for k, p in enumerate(pictures)
                ]
            )
    for one, other in zip(*found, strict=True):
        assert one.features == other.features and one.quality == other.quality
        assert one.classification is not None and other.classification is not None
        assert np.array_equal(one.classification.probabilities, other.classification.probabilities)
        assert one.segmentation is not None and other.segmentation is not None
        assert np.array_equal(one.segmentation.mask, other.segmentation.mask)


def test_a_run_keeps_its_plan_for_bundles_that_come_later() -> None:
    """SIGHUP loads a new bundle with the threads of the pipeline's plan."""
    threads = default_threads() + 1
    config = RunConfig(engine=EngineConfig(threads=threads, networks="sequential"))
    with build_pipeline(config) as pipeline:
        assert pipeline.plan == Plan(threads=threads)
        assert {n.backend.threads for n in pipeline.networks.values()} == {threads}
