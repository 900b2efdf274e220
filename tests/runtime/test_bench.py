"""`rille bench`: figures that are what they say, files that are whole, mistakes in one line."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rille.bench import Bench, BenchRecord, look_at_machine, read_moment, start_cold, write_bench
from rille.bench.answers import Answers
from rille.bench.arrivals import Arrivals
from rille.bench.blocks import CLOCKS
from rille.bench.drift import slope
from rille.bench.soak import run_soak
from rille.bench.watts import Watts
from rille.bench.write import check_folder
from rille.bundle import load_bundle
from rille.cli.bench_options import read_bench_options
from rille.errors import BackendError, CheckFailedError, SinkError
from rille.frame import Frame
from rille.pipeline import Pipeline
from rille.strain import Strain

Rille = Callable[..., int]
QUICK = ("--frames", 24, "--warmup", 2, "--size", "160x120", "--budget-ms", 9999, "--cold", 0)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """Both networks on small frames, warm."""
    with Bench(
        classify=load_bundle("mars-msl24"),
        segment=load_bundle("moon-craters"),
        width=160,
        height=120,
        threads=1,
        parallel=False,
        frame_ms=9999.0,
    ) as bench:
        bench.closed(4, 1)
        yield bench


def test_an_open_loop_accounts_for_every_arrival(bench: Bench) -> None:
    found = bench.open(fps=2000.0, count=150)
    totals = found.totals
    assert totals.captured == 150
    assert totals.captured == totals.ok + totals.late + totals.dropped + totals.failed
    assert totals.dropped == totals.causes["superseded"] > 0  # nobody serves 2000 a second here
    assert len(found.ages) == len(found.waits) == totals.ok + totals.late
    assert all(age >= wait >= 0 for age, wait in zip(found.ages, found.waits, strict=True))
    assert found.to_json()["account"]["captured"] == 150


def test_capture_times_are_fixed_whatever_the_reader_does() -> None:
    """The heart of an open loop: a stalled reader finds later frames as old as they are."""
    frames = [np.zeros((16, 16), np.uint8)]
    source = Arrivals(frames, fps=200.0, count=30)
    given: list[Frame] = []
    while not source.ended:
        frame = source.read(1.0)
        if frame is not None:
            given.append(frame)
        if len(given) == 5:
            time.sleep(0.06)
    gaps = np.diff([frame.captured_ns for frame in given])
    assert [frame.index for frame in given] == list(range(30))
    assert set(gaps.tolist()) == {5_000_000}
    assert source.read(0.0) is None


def test_answers_are_held_against_plain_runs(bench: Bench) -> None:
    answers = Answers()
    pool, pipeline = bench.pool, bench.pipeline
    for place in (0, 1):
        answers.note(place, pipeline.run(Frame(pixels=pool[place], index=0, captured_ns=0)))
    assert answers.noted == 0  # captured at the boot of this machine: expired, and not worked on
    for place in (0, 1):
        answers.note(place, _now(pipeline, pool[place]))
    assert answers.noted == 4
    answers.check(pool, bench.bundles)
    answers.note(0, _now(pipeline, pool[1]))  # the answer to another frame
    with pytest.raises(CheckFailedError, match="frame 0 was not the same"):
        answers.check(pool, bench.bundles)


def _now(pipeline: Pipeline, pixels: Any) -> Any:
    return pipeline.run(Frame(pixels=pixels, index=0, captured_ns=time.monotonic_ns()))


def test_a_frame_seen_twice_costs_as_much_the_second_time(bench: Bench) -> None:
    found = bench.verify()
    assert set(found.ratios) == {"frame", "classify", "segment"}
    assert all(0.5 < ratio < 2.0 for ratio in found.ratios.values())


def test_kept_results_are_found_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = bench.blocks.pipeline.networks["classify"].backend
    known: dict[bytes, Any] = {}
    infer = engine.infer

    def cheat(tensor: Any) -> Any:
        key = tensor.tobytes()
        if key not in known:
            known[key] = {role: values.copy() for role, values in infer(tensor).items()}
        return known[key]

    monkeypatch.setattr(engine, "infer", cheat)
    with pytest.raises(CheckFailedError, match=r"^classify: .* results are kept"):
        bench.verify()


def test_a_clock_that_loses_time_does_not_make_kept_results(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual machine's clock of processor time leaves out what its host took, and more."""
    reads, told, lost = itertools.count(), 0, 0

    def forgetful() -> int:
        nonlocal told, lost
        now = time.thread_time_ns()
        if next(reads) % 7 == 0:
            lost = now - told
        told = now - lost
        return told

    monkeypatch.setitem(CLOCKS, "cpu", forgetful)
    bench.verify()
    assert next(reads) > 100


def test_a_soak_tells_each_minute(bench: Bench) -> None:
    found = run_soak(bench.pipeline, bench._floors, bench.pool, minutes=1.5, minute_s=0.3)
    assert len(found.minutes) == 2
    assert all(minute.ages["n"] > 0 and minute.floor_ms > 0 for minute in found.minutes)
    told = json.loads(json.dumps(found.to_json()))
    assert "age p50, ms a minute" in told["drift"]
    assert told["minutes"][0]["resident_mb"] > 10


def test_a_drift_is_told_from_noise() -> None:
    noise = np.random.default_rng(3).normal(0, 0.3, 30)
    assert not slope(noise.tolist()).drifts
    creeping = slope((noise + 0.2 * np.arange(30)).tolist())
    assert creeping.drifts and creeping.each == pytest.approx(0.2, abs=0.03)
    noise[7] = 1e6  # one minute with something else going on
    assert abs(slope(noise.tolist()).each or 0.0) < 0.05
    assert slope([1.0, 2.0, 3.0]).low is None and slope([1.0]).each is None


def test_slopes_hold_the_truth_as_often_as_they_say() -> None:
    rng, hits = np.random.default_rng(5), 0
    for _ in range(300):
        found = slope((0.1 * np.arange(12) + rng.standard_cauchy(12)).tolist())
        assert found.low is not None and found.high is not None
        hits += found.low <= 0.1 <= found.high
    assert hits / 300 >= 0.92


def test_energy_is_power_times_time() -> None:
    with Watts(lambda: Strain(power_w=5.0, celsius=61.0, throttled=("throttled",)), 0.01) as watts:
        pass
    assert watts.mean_w == 5.0 and watts.celsius == 61.0 and watts.throttled == {"throttled"}
    assert watts.joules_each(10) == pytest.approx(0.5 * watts.seconds)
    with Watts(Strain, 0.01) as blind:
        pass
    assert blind.joules_each(10) is None


def test_a_machine_tells_what_it_is(tmp_path: Path) -> None:
    files = {
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano\0",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance\n",
        "var/lib/nvpmodel/status": "pmode:0002",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = look_at_machine(tmp_path)
    assert found.board == "NVIDIA Jetson Orin Nano"
    assert found.governor == "performance, schedutil"
    assert found.power_mode == "nvpmodel 2"
    assert found.versions["numpy"] == np.__version__
    assert look_at_machine(tmp_path / "nothing").governor == "unknown"


def test_a_cold_start_is_a_process_of_its_own() -> None:
    common: dict[str, Any] = {"threads": 1, "parallel": False, "size": (64, 48), "times": 1}
    (found,) = start_cold(classify="mars-msl24", segment="", **common)
    assert 0 < found.import_ms + found.load_ms + found.first_frame_ms == found.total_ms
    assert found.total_ms < found.process_ms
    with pytest.raises(BackendError, match=r"cold start: .*no such bundle"):
        start_cold(classify="nowhere", segment="", **common)


def test_the_files_say_the_same_and_are_whole(rille: Rille, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "new" / "out"
    words = ("--segment", "", "--fps", 300, "--out", out)
    assert rille("bench", *QUICK, *words) == 0
    shown = capsys.readouterr().out
    assert {p.name for p in out.iterdir()} == {"bench.json", "bench.md", "bench.html"}
    told = json.loads((out / "bench.json").read_text())
    page, text = (out / "bench.html").read_text(), (out / "bench.md").read_text()
    for everywhere in (shown, page, text):
        assert ("short run" in everywhere and "superseded" in everywhere) or "24 ok" in everywhere
    assert told["short_run"] and told["open"]["short_run"]
    account = told["open"]["account"]
    assert account["captured"] == 24 == sum(account[s] for s in ("ok", "late", "dropped", "failed"))
    assert told["latency_ms"]["pipeline"]["p99"] is None and told["cold"] == []
    assert set(told["intervals_95_ms"]["pipeline"]) == {"p50", "p90", "p95", "p99", "p99.9"}
    assert told["identity"]["bundles"]["classify"] == load_bundle("mars-msl24").digest
    assert len(told["stages"]["parts"]["classify infer"]["ratios"]["cpu"]) >= 8
    assert page.count("<svg") == 3 and not re.search(r"(src|href)=|https?:|<script", page)


def test_a_folder_that_takes_no_files_stays_as_it_is(bench: Bench, tmp_path: Path) -> None:
    moment = read_moment()
    record = BenchRecord(
        command="rille bench",
        machine=look_at_machine(),
        before=moment,
        after=moment,
        identity=bench.identity,
        closed=bench.closed(4, 0),
        stages=bench.blocks.to_json(),
        repeats=bench.verify(),
    )
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SinkError, match="is not a folder"):
        check_folder(tmp_path / "file")
    out = tmp_path / "out"
    (out / "bench.html").mkdir(parents=True)
    (out / "bench.md").write_text("earlier")
    with pytest.raises(SinkError, match="cannot be written"):
        write_bench(out, record)
    assert {p.name for p in out.iterdir()} == {"bench.html", "bench.md"}
    assert (out / "bench.md").read_text() == "earlier"
    write_bench(tmp_path / "new", record)
    assert len(list((tmp_path / "new").iterdir())) == 3


def test_the_floor_is_what_any_program_can_do_with_the_files(bench: Bench) -> None:
    floors = [n for networks in bench._floors._networks.values() for n in networks]
    floors += bench.blocks._floor.values()
    assert floors and all(network.backend.name.endswith(" plain") for network in floors)
    for ours in (bench.pipeline, bench.blocks.pipeline):
        assert not any(n.backend.name.endswith(" plain") for n in ours.networks.values())


def test_plain_leaves_rearranging_out(rille: Rille, tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    assert rille("bench", *QUICK, "--segment", "", "--plain", "--json", out) == 0
    found = json.loads(out.read_text())
    assert found["identity"]["backends"]["classify"].endswith(" plain")
    assert read_bench_options([]).plain is False


def test_a_budget_that_nothing_fits_is_told(rille: Rille, capsys: Any) -> None:
    words = ("--frames", 6, "--size", "160x120", "--segment", "", "--cold", 0)
    assert rille("bench", *words, "--budget-ms", 0.3) == 0
    said = capsys.readouterr()
    assert re.search(r"[1-6] of 6 frames beyond the budget|[1-6] with a stage left out", said.out)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--frames", "0"), "--frames must be from 1"),
        (("--warmup", "-1"), "--warmup must be from 0"),
        (("--threads", "0"), "--threads must be from 1"),
        (("--fps", "0"), "--fps must be from 0.01"),
        (("--fps", "nan"), "--fps must be from 0.01"),
        (("--soak", "-3"), "--soak must be from 0.01"),
        (("--cold", "1000"), "--cold must be from 0 to 100"),
        (("--features", "5"), "--features is for --predict"),
        (("--predict", "--features", "-1"), "--features must be from 0"),
        (("--predict", "--out", "x"), "--predict goes with neither"),
        (("--predict", "--plain"), "--predict goes with neither"),
        (("--classify", "", "--segment", ""), "name a bundle for one"),
        (("--frames", "many"), "invalid int value"),
    ],
)
def test_nonsense_is_refused(words: tuple[str, ...], why: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as left:
        read_bench_options(list(words))
    assert left.value.code == 2
    assert why in capsys.readouterr().err
