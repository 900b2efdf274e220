"""The cost model: it finds the numbers that frames were made from, and says how wrong it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rille.bench.cost_model import Sample, fit, newest_first, straight

SIZES = (0.0768, 0.3072, 1.2288)


def samples(parallel: bool, seed: int = 0) -> list[Sample]:
    """Return frames that cost what a known model says, each now and then interrupted."""
    rng = np.random.default_rng(seed)
    found = []
    for k in range(120):
        megapixels, features = SIZES[k % 3], int(rng.integers(5, 50))
        parts = {
            "classify preprocess": 0.2 + 0.5 * megapixels,
            "classify infer": 2.0,
            "classify postprocess": 0.1,
            "segment preprocess": 0.3 + 0.8 * megapixels,
            "segment infer": 8.0,
            "segment postprocess": 1.0 + 0.02 * features,
        }
        parts = {name: ms * float(rng.lognormal(0, 0.01)) for name, ms in parts.items()}
        if rng.random() < 0.1:
            parts["segment infer"] += 20.0
        totals = [sum(v for n, v in parts.items() if n.startswith(s)) for s in ("cl", "se")]
        age = (max(totals) if parallel else sum(totals)) + 0.4 + 0.6 * megapixels
        found.append(Sample(megapixels=megapixels, features=features, parts_ms=parts, age_ms=age))
    return found


@pytest.mark.parametrize("parallel", [False, True])
def test_the_model_is_found_again(parallel: bool) -> None:
    model = fit(samples(parallel), parallel)
    assert model.parts["segment preprocess"].each_ms == pytest.approx(0.8, rel=0.1)
    assert model.parts["segment postprocess"].each_ms == pytest.approx(0.02, rel=0.2)
    assert model.parts["segment infer"].fixed_ms == pytest.approx(8.0, rel=0.02)
    assert model.rest.each_ms == pytest.approx(0.6, rel=0.05)
    segment = 0.3 + 0.8 * 0.5 + 8.0 + 1.0 + 0.02 * 30
    classify = 0.2 + 0.5 * 0.5 + 2.0 + 0.1
    truth = (segment if parallel else segment + classify) + 0.4 + 0.6 * 0.5
    assert model.predict(0.5, 30).p50_ms == pytest.approx(truth, rel=0.02)
    assert model.predict(0.5, 30).p95_ms > truth + 15  # one frame in ten was interrupted


def test_work_never_shrinks_with_pixels() -> None:
    assert straight([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]).each_ms == 0.0
    assert straight([1.0, 1.0], [3.0, 5.0]).fixed_ms == 4.0


def test_a_rate_that_can_be_served_costs_nothing() -> None:
    ages, lost = newest_first([5.0] * 100, 10.0)
    assert set(ages) == {5.0} and lost == 0.0


def test_a_rate_that_cannot_be_served_loses_frames_and_not_time() -> None:
    ages, lost = newest_first([15.0] * 2000, 10.0)
    assert lost == pytest.approx(1 / 3, abs=0.01)
    assert min(ages) >= 15.0 and max(ages) < 25.0
    ages, lost = newest_first([100.0] * 200, 10.0)
    assert lost == pytest.approx(0.9, abs=0.01) and max(ages) < 110.0


def test_a_prediction_says_how_far_it_was_off(
    rille: Callable[..., int], tmp_path: Path, capsys: Any
) -> None:
    file = tmp_path / "model.json"
    words = ("--segment", "", "--frames", 1, "--size", "800x600", "--fps", 5, "--json", file)
    assert rille("bench", "--predict", *words) == 0
    shown = capsys.readouterr().out
    assert "predicted for 800 x 600" in shown and "the model was off by up to" in shown
    told = json.loads(file.read_text())
    assert len(told["held_out"]) == 4 and told["predicted"]["p50_ms"] > 0
    assert all(len(trial["errors"]) == 2 for trial in told["held_out"])
