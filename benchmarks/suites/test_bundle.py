"""Verification of a bundle before it is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rille.bundle import load_bundle, shipped_bundles

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


@pytest.mark.parametrize("name", shipped_bundles())
def test_verification(benchmark: BenchmarkFixture, name: str) -> None:
    """Reading a bundle's files, their SHA-256, and its manifest."""
    bundle = benchmark.pedantic(load_bundle, (name,), rounds=20, warmup_rounds=1)
    assert bundle.name == name and set(bundle.files) == set(bundle.manifest.files)
