"""Writing one result to each telemetry sink."""

from __future__ import annotations

import socket
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import rille

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pytest_benchmark.fixture import BenchmarkFixture


@pytest.fixture(scope="module")
def result(pixels: NDArray[np.uint8]) -> rille.Result:
    """A result with a class and the features of moon-craters."""
    with rille.Pipeline(
        classify=rille.load_bundle("mars-msl24"),
        segment=rille.load_bundle("moon-craters"),
        budget=rille.Budget(frame_ms=60_000.0),
        threads=1,
    ) as pipeline:
        return pipeline.run(rille.Frame(pixels=pixels, index=0, captured_ns=time.monotonic_ns()))


@pytest.mark.parametrize("scheme", ["jsonl", "udp", "ccsds", "prometheus", "mcap"])
def test_writing(
    benchmark: BenchmarkFixture, result: rille.Result, tmp_path: Path, scheme: str
) -> None:
    """One result of a frame with two answers, handed to the system."""
    if scheme == "mcap" and find_spec("mcap") is None:
        pytest.skip('mcap is not installed: pip install "rille[record]"')
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ground:
        ground.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{ground.getsockname()[1]}"  # the same number is free for TCP
        targets = {
            "jsonl": f"jsonl://{tmp_path / 'r.jsonl'}",
            "udp": f"udp://{address}",
            "ccsds": f"ccsds://{address}?apid=100",
            "prometheus": f"prometheus://{address}",
            "mcap": f"mcap://{tmp_path / 'r.mcap'}",
        }
        sink = rille.open_sink(targets[scheme])
        try:
            benchmark.pedantic(sink.write, (result,), rounds=40, warmup_rounds=2)
        finally:
            sink.close()
    if scheme in ("jsonl", "mcap"):
        assert (tmp_path / f"r.{scheme}").stat().st_size > 0
