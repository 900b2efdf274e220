"""From a network's outputs to answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.masks import decoder_of, outputs_with
from rille.bundle import load_bundle
from rille.network import Network
from rille.postprocess import classify

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pytest_benchmark.fixture import BenchmarkFixture


@pytest.mark.parametrize("count", [1, 50, 200])
def test_mask_to_features(benchmark: BenchmarkFixture, count: int) -> None:
    """A 256 x 256 int8 mask to a binary mask and an ellipse with a score for each region."""
    found = benchmark(decoder_of(256), *outputs_with(count, 256))
    assert len(found.features) == count and found.mask.shape == (256, 256)


@pytest.mark.parametrize("name", ["moon-craters", "moon-rocks"])
def test_of_a_bundle(benchmark: BenchmarkFixture, pixels: NDArray[np.uint8], name: str) -> None:
    """The decoding of a segmenter's own answer to a simulated frame."""
    with_network = Network.load(load_bundle(name))
    tensor, geometry = with_network.preprocessor(pixels)
    outputs = with_network.backend.infer(tensor)
    found = benchmark(with_network.decode, outputs, geometry)
    assert 0 <= found.coverage <= 1
    with_network.close()


def test_logits_to_class(benchmark: BenchmarkFixture) -> None:
    """24 logits to a calibrated class with entropy."""
    manifest = load_bundle("mars-msl24").manifest
    logits = np.linspace(-3, 3, len(manifest.labels), dtype=np.float32)
    found = benchmark(classify, logits, manifest.labels, manifest.decision)
    assert found.probabilities.sum() == pytest.approx(1.0, abs=1e-5)
