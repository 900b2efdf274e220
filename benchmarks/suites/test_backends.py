"""One inference in each engine that is installed and has a network to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from rille.backends import open_backend, target_of
from rille.backends.base import BACKENDS
from rille.bundle import load_bundle, shipped_bundles
from rille.errors import BackendUnavailableError, BundleError

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


@pytest.mark.parametrize("bundle_name", shipped_bundles())
@pytest.mark.parametrize("engine", BACKENDS.names())
def test_inference(benchmark: BenchmarkFixture, engine: str, bundle_name: str) -> None:
    """One inference with one thread on a ready input tensor, outputs copied out."""
    bundle = load_bundle(bundle_name)
    try:
        _, variant = bundle.variant(target=target_of(engine))
        backend = open_backend(bundle.files[variant.file], variant, name=engine, threads=1)
    except (BundleError, BackendUnavailableError) as why:
        pytest.skip(str(why))
    tensor = np.random.default_rng(0).integers(0, 100, variant.input.shape)
    try:
        # The exact engine takes a second for some networks.
        found = benchmark.pedantic(
            backend.infer,
            (tensor.astype(variant.input.numpy_dtype),),
            rounds=2 if engine.endswith("-exact") else 30,
            warmup_rounds=0 if engine.endswith("-exact") else 3,
        )
        assert {r: a.shape for r, a in found.items()} == {
            role: entry.tensor.shape for role, entry in variant.outputs.items()
        }
    finally:
        backend.close()
