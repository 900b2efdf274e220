"""Comparing with a baseline: slower parts are found, noise is not, other things are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import plant

from rille.bench import check_same, read_baseline
from rille.bench.baseline import LIMITS, compare, shift
from rille.bench.blocks import StageBlocks
from rille.bench.frames import rendered
from rille.bundle import load_bundle
from rille.errors import ConfigError

IDENTITY = {
    "board": "a board",
    "cores": 2,
    "bundles": {"classify": "ab"},
    "backends": {"classify": "an engine"},
    "data": "cd",
    "size": [640, 480],
    "threads": 1,
    "parallel": False,
    "reference": 1,
}


def ratios(seed: int, factor: float = 1.0, blocks: int = 16) -> list[float]:
    """Return ratios of blocks as a busy machine gives them: 3 %, now and then far off."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 0.03, blocks) + np.where(rng.random(blocks) < 0.1, 0.4, 0.0)
    return [float(r) for r in factor * np.exp(noise)]


def record(parts: dict[str, list[float]]) -> dict[str, Any]:
    """Return the part of a bench.json that a comparison reads."""
    told = {name: {"ratios": dict.fromkeys(LIMITS, many)} for name, many in parts.items()}
    return {"identity": IDENTITY, "stages": {"parts": told}}


def test_ten_percent_is_found_and_noise_is_not() -> None:
    caught = wrong = 0
    for seed in range(100):
        before = record({"classify infer": ratios(seed)})
        for factor in (1.0, 1.12):
            now = {"classify infer": {clock: ratios(seed + 1000, factor) for clock in LIMITS}}
            found = {change.clock: change for change in compare(before, now, "x")}
            caught += factor > 1 and found["cpu"].slower
            wrong += factor == 1 and found["cpu"].slower
            assert not found["wall"].slower  # 12 % may be other programs
    assert wrong <= 2
    assert caught >= 90


def test_a_shift_is_estimated_without_bias_and_with_its_uncertainty() -> None:
    inside = 0
    for seed in range(200):
        change, low, high = shift(ratios(seed), ratios(seed + 500, 1.1))
        assert low <= change <= high
        inside += low <= 0.1 <= high
    assert inside >= 195


def test_less_work_is_no_alarm() -> None:
    before = record({"frame": ratios(1)})
    found = compare(before, {"frame": {clock: ratios(2, 0.5) for clock in LIMITS}}, "x")
    assert not any(change.slower for change in found)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("board", "another", "another board"),
        ("bundles", {"classify": "xx"}, "other bundles"),
        ("data", "ee", "other frames"),
        ("size", [320, 240], "frames of another size"),
        ("threads", 2, "another number of threads"),
        ("parallel", True, "another way of sharing the cores"),
        ("reference", 2, "other reference work"),
    ],
)
def test_what_cannot_be_compared_is_refused(key: str, value: object, words: str) -> None:
    check_same(IDENTITY, {"identity": dict(IDENTITY)}, "b.json")
    with pytest.raises(ConfigError, match=f"b.json: measured with {words}"):
        check_same(IDENTITY, {"identity": {**IDENTITY, key: value}}, "b.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("no", "not JSON"),
        ("[]", "not a bench.json"),
        ('{"identity": {}}', "stages are missing"),
        ('{"identity": {}, "stages": {"parts": {"a": 3}}}', "stages are missing"),
        (
            '{"identity": {}, "stages": {"parts": {"a": {"ratios": {"cpu": [NaN], "wall": []}}}}}',
            "cannot be ratios",
        ),
        (
            '{"identity": {}, "stages": {"parts": {"a": {"ratios": {"cpu": [-1], "wall": []}}}}}',
            "cannot be ratios",
        ),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_damaged_baseline_is_refused(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "bench.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=words):
        read_baseline(path)


def test_a_baseline_with_too_little_in_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_baseline(tmp_path / "nowhere.json")
    now = {"frame": {clock: ratios(1) for clock in LIMITS}}
    with pytest.raises(ConfigError, match="fewer than 8 blocks of 'frame'"):
        compare(record({"frame": ratios(1, blocks=3)}), now, "b.json")


def test_a_planted_slow_down_is_caught_on_this_machine() -> None:
    """Small; `make bench-gate` plants a tenth into each part of both networks."""
    with StageBlocks({"classify": load_bundle("mars-msl24")}, rendered(160, 120)) as blocks:
        blocks.block(counts=False)

        def measure() -> dict[str, dict[str, list[float]]]:
            for ratios in blocks.parts.values():
                for times in (ratios.ratios, ratios.part_ms, ratios.reference_ms):
                    for many in times.values():
                        many.clear()
            for _ in range(8):
                blocks.block()
            return {name: {"cpu": list(r.ratios["cpu"])} for name, r in blocks.parts.items()}

        before = measure()
        infer_ms = float(np.median(blocks.parts["classify infer"].part_ms["cpu"]))
        plant(blocks.pipeline.networks["classify"], "infer", 0.25 * infer_ms)
        now = measure()
    told = {name: {"ratios": {**clocks, "wall": [1.0] * 8}} for name, clocks in before.items()}
    found = compare({"stages": {"parts": told}}, now, "x")
    assert [c.part for c in found if c.slower and c.part == "classify infer"]
    assert next(c for c in found if c.part == "classify infer").change == pytest.approx(
        0.25, abs=0.15
    )


def test_a_baseline_of_another_size_is_refused_before_measuring(
    rille: Callable[..., int], tmp_path: Path, capsys: Any
) -> None:
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(record({"frame": ratios(1)})))
    words = ("--frames", 8, "--size", "160x120", "--segment", "", "--cold", 0)
    assert rille("bench", *words, "--baseline", path) == 2
    said = capsys.readouterr()
    assert "measured with another board" in said.err and not said.out


def test_a_run_compares_itself_with_an_earlier_one(
    rille: Callable[..., int], tmp_path: Path, capsys: Any
) -> None:
    """Exit 1 for a baseline in which one part took half as much; the others stand as they were."""
    words = ("--frames", 8, "--warmup", 1, "--size", "160x120", "--segment", "", "--cold", 0)
    assert rille("bench", *words, "--out", tmp_path / "first") == 0
    path = tmp_path / "first" / "bench.json"
    told = json.loads(path.read_text())
    own = told["stages"]["parts"]["classify infer"]["ratios"]
    own.update({clock: [r / 2 for r in many] for clock, many in own.items()})
    path.write_text(json.dumps(told))
    capsys.readouterr()
    second = tmp_path / "second"
    assert rille("bench", *words, "--baseline", path, "--out", second) == 1
    said = capsys.readouterr()
    assert "REGRESSION" in said.err and "classify infer" in said.err
    changes = json.loads((second / "bench.json").read_text())["changes"]
    assert {c["part"] for c in changes if c["slower"]} >= {"classify infer"}
    assert "SLOWER" in (second / "bench.md").read_text()
