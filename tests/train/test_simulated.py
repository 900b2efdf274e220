"""Simulated tiles are written as the real data set is laid out, and read back by its adapter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rille.datasets import BoxSample, open_dataset
from rille.images import read_image
from rille.sim.orbital import TILE_PX, scene_of, tile
from rille_train.simulated import STORED_PX, write_tiles


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("simulated")
    write_tiles(root, 3, 2, first=9 * 40)
    return root


def test_the_real_adapter_reads_them(written: Path) -> None:
    dataset = open_dataset(written)
    assert dataset.task == "segmentation" and [label.name for label in dataset.labels] == ["crater"]
    assert len(dataset.samples("train")) == 3 and len(dataset.samples("val")) == 2


def test_no_scene_is_in_both_splits(written: Path) -> None:
    scenes = [
        {path.stem.split("-")[1] for path in (written / split / "images").iterdir()}
        for split in ("train", "valid")
    ]
    assert scenes[0] and scenes[1] and not scenes[0] & scenes[1]


def test_labels_and_pixels_survive_the_way_to_disk_and_back(written: Path) -> None:
    """Boxes cut by the border come back complete, as far as the adapter can know."""
    samples = open_dataset(written).samples("train")
    for number, sample in enumerate(samples):
        assert isinstance(sample, BoxSample)
        seed = 9 * 40 + number
        assert sample.path.stem == f"Sim-{scene_of(seed)}-{number}"
        pixels, ellipses, _ = tile(seed)
        image = read_image(sample.path)
        assert image.shape[:2] == (STORED_PX, STORED_PX)
        grey = image if image.ndim == 2 else image[:, :, 0]
        assert abs(float(grey.mean()) - float(pixels.mean())) < 1.0
        found = sample.ellipses(TILE_PX, TILE_PX)
        assert len(found) == len(ellipses) > 3
        whole = [
            k
            for k, e in enumerate(ellipses)
            if min(e.x, e.y) > e.semi_major + 3 and max(e.x, e.y) < TILE_PX - 4 - e.semi_major
        ]
        assert len(whole) > len(ellipses) / 2
        for k in whole:
            one, other = found[k], ellipses[k]
            places = (one.x - other.x, one.y - other.y, one.semi_major - other.semi_major)
            np.testing.assert_allclose(places, 0.0, atol=0.02)
