"""A whole frame, from capture to publication."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

import rille

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pytest_benchmark.fixture import BenchmarkFixture

_PAIRS = {
    "classify": ("mars-msl24", ""),
    "segment": ("", "moon-rocks"),
    "both": ("mars-msl24", "moon-rocks"),
}


@pytest.mark.parametrize("work", _PAIRS)
def test_one_frame(benchmark: BenchmarkFixture, pixels: NDArray[np.uint8], work: str) -> None:
    """One 640 x 480 frame through the pipeline, everything done, one thread."""
    classify, segment = (rille.load_bundle(name) if name else None for name in _PAIRS[work])
    budget = rille.Budget(frame_ms=60_000.0)
    with rille.Pipeline(classify=classify, segment=segment, budget=budget, threads=1) as pipeline:
        result = benchmark.pedantic(
            lambda: pipeline.run(
                rille.Frame(pixels=pixels, index=0, captured_ns=time.monotonic_ns())
            ),
            rounds=40,
            warmup_rounds=3,
        )
        totals = pipeline.stats.totals
    assert (result.classification is None, result.segmentation is None) == (
        classify is None,
        segment is None,
    )
    assert totals.captured == totals.ok and not result.shed
