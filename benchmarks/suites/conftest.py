"""Frames and networks for the suites, and each benchmark's sentence for the results page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from rille.bundle import load_bundle
from rille.images import decode_image

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pytest_benchmark.fixture import BenchmarkFixture


@pytest.fixture(scope="session")
def pixels() -> NDArray[np.uint8]:
    """(480, 640, 3) RGB: the crater bundle's first golden image, grey repeated, stretched."""
    bundle = load_bundle("moon-craters")
    grey = decode_image(bundle.files[bundle.manifest.golden_images[0]], "golden image")
    large = cv2.resize(grey, (640, 480))
    return np.asarray(cv2.cvtColor(large, cv2.COLOR_GRAY2RGB), np.uint8)


@pytest.fixture(autouse=True)
def _sentence(request: pytest.FixtureRequest, benchmark: BenchmarkFixture) -> None:
    """Keep what a benchmark measures beside its figures."""
    benchmark.extra_info["what"] = str(request.function.__doc__).strip()
