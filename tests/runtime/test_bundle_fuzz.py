"""Thousands of damaged bundles: refused by a rille error or the same in every byte that counts."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pytest
from tests.fuzz.mutate import spoilt
from tests.small_bundle import shrunk

from rille.bundle import Bundle, load_bundle, pack, write_bundle
from rille.errors import RilleError

FOLDERS, ZIPS = 5_000, 20_000


@pytest.fixture
def small(mars_bundle: Bundle, tmp_path: Path) -> Bundle:
    """A bundle of a few kilobytes, so that thousands can be read."""
    return write_bundle(tmp_path / "small", *shrunk(mars_bundle, 400, 3))


def is_sound(bundle: Bundle) -> bool:
    """Whether what was loaded is what its manifest names, byte for byte."""
    named = json.loads(bundle.text)["files"]
    return bundle.files.keys() == named.keys() and all(
        hashlib.sha256(data).hexdigest() == named[name]["sha256"]
        for name, data in bundle.files.items()
    )


@pytest.mark.slow
def test_damaged_folders(small: Bundle) -> None:
    dice = random.Random(8)
    folder = Path(small.where)
    names = sorted(p.name for p in folder.iterdir())
    refused = 0
    for turn in range(FOLDERS):
        # The manifest is where there is most to understand.
        name = "manifest.json" if turn % 2 else dice.choice(names)
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(spoilt([before], dice))
        try:
            assert is_sound(load_bundle(folder))
        except RilleError:
            refused += 1
        (folder / name).write_bytes(before)
    assert refused > 0.8 * FOLDERS
    assert load_bundle(folder).digest == small.digest


@pytest.mark.slow
def test_damaged_zips(small: Bundle, tmp_path: Path) -> None:
    dice = random.Random(9)
    whole = tmp_path / "whole.zip"
    pack(small, whole)
    content = whole.read_bytes()
    path = tmp_path / "spoilt.zip"
    refused = 0
    for _ in range(ZIPS):
        path.write_bytes(spoilt([content], dice))
        try:
            assert is_sound(load_bundle(path))
        except RilleError:
            refused += 1
    assert refused > 0.8 * ZIPS
