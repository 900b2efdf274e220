"""One simulated frame of each view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rille.sources import open_source

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


@pytest.mark.parametrize("view", ["descent", "rover"])
def test_rendering(benchmark: BenchmarkFixture, view: str) -> None:
    """One 160 x 120 frame of the simulated Moon, the scene being built already."""
    uri = f"sim://moon?view={view}&seed=7&size=160x120&frames=100&realtime=0&truth=0"
    with open_source(uri) as camera:
        frame = benchmark.pedantic(lambda: camera.read(10.0), rounds=3)
    assert frame is not None and frame.pixels.shape[:2] == (120, 160)
