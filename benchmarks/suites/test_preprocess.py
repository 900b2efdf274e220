"""From a frame to a network's input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from benchmarks.targets import quantizer
from rille.bundle import load_bundle, shipped_bundles
from rille.preprocess import Preprocessor, parse_ops

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pytest_benchmark.fixture import BenchmarkFixture


@pytest.mark.parametrize("name", shipped_bundles())
def test_of_a_bundle(benchmark: BenchmarkFixture, pixels: NDArray[np.uint8], name: str) -> None:
    """All preprocessing of a bundle, from a 640 x 480 RGB frame to its input tensor."""
    bundle = load_bundle(name)
    _, variant = bundle.variant()
    ready = Preprocessor(parse_ops(bundle.manifest.preprocess), variant.input)
    tensor, geometry = benchmark(ready, pixels)
    assert tensor.shape == variant.input.shape and tensor.dtype == variant.input.numpy_dtype
    assert (geometry.source_width, geometry.source_height) == (640, 480)


@pytest.mark.parametrize("side", [224, 256])
def test_rgb_to_int8(benchmark: BenchmarkFixture, pixels: NDArray[np.uint8], side: int) -> None:
    """Shrinking without aliasing, normalising and quantising of 640 x 480 RGB to int8."""
    tensor, _ = benchmark(quantizer(side), pixels)
    assert tensor.shape == (1, side, side, 3) and tensor.dtype == np.int8
    assert abs(float(tensor.mean()) + 128 - float(pixels.mean())) < 2


@pytest.mark.parametrize("side", [224, 256])
def test_bare_resize(benchmark: BenchmarkFixture, pixels: NDArray[np.uint8], side: int) -> None:
    """One `cv2.resize` of the same frame to the same size, for comparison."""
    assert benchmark(cv2.resize, pixels, (side, side)).shape == (side, side, 3)
