"""Flat folders of YOLO polygons, and what Chang'E scenes say about themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rille.datasets import PolygonFolder, open_dataset
from rille.errors import DatasetError


def test_polygons_become_masks(polygon_set: Path) -> None:
    dataset = open_dataset(polygon_set)
    assert isinstance(dataset, PolygonFolder)
    assert dataset.splits() == ["all"]
    assert [label.name for label in dataset.labels] == ["class 0"]
    empty, first, *_ = dataset.samples("all")
    assert not empty.mask().any()
    mask = first.mask()
    assert mask.shape == (32, 48)
    assert (mask[8:16, 12:24] == 1).all()
    assert mask.sum() <= 9 * 13  # the outline itself belongs to the rock
    assert first.group == "rock_1"


def test_names_may_stand_in_a_file(polygon_set: Path) -> None:
    (polygon_set / "classes.txt").write_text("rock\nbedrock\n")
    assert [label.name for label in PolygonFolder(polygon_set).labels] == ["rock", "bedrock"]
    (polygon_set / "labels" / "rock_1.txt").write_text("2 0 0 1 0 1 1")
    with pytest.raises(DatasetError, match=r"classes\.txt: names 2 classes.*use id 2"):
        PolygonFolder(polygon_set)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 0.5 0.5 0.2 0.2", r"expected 'class x1 .*; boxes need a data\.yaml"),
        ("0 0.1 0.1 0.2 0.2 0.3", "expected 'class x1 y1"),
        ("0 0.1 0.1 0.2 0.2 0.3 x", "expected 'class x1 y1"),
        ("rock 0.1 0.1 0.2 0.2 0.3 0.3", "expected 'class x1 y1"),
        ("999 0.1 0.1 0.2 0.2 0.3 0.3", "expected 'class x1 y1"),
        ("0 0.1 0.1 0.2 0.2 0.3 1.3", "not a fraction from 0 to 1"),
        ("0 0.1 0.1 0.2 0.2 0.3 nan", "not a fraction from 0 to 1"),
    ],
)
def test_bad_lines_are_named(polygon_set: Path, line: str, words: str) -> None:
    path = polygon_set / "labels" / "rock_2.txt"
    path.write_text(f"{path.read_text()}\n\n{line}\n")
    with pytest.raises(DatasetError, match=rf"rock_2\.txt:4: .*{words}"):
        open_dataset(polygon_set)


def test_labels_without_an_image(polygon_set: Path) -> None:
    (polygon_set / "images" / "rock_3.png").unlink()
    with pytest.raises(DatasetError, match=r"rock_3\.txt: no image rock_3 in"):
        open_dataset(polygon_set)


def test_there_is_no_other_split(polygon_set: Path) -> None:
    with pytest.raises(DatasetError, match=r"no split 'train' \(here: all\)"):
        open_dataset(polygon_set).samples("train")


@pytest.mark.data
def test_the_real_rocks(data_root: Callable[[str], Path]) -> None:
    samples = PolygonFolder(data_root("mars_rocks")).samples("all")
    assert len(samples) == 92
    shares = [float((s.mask() == 1).mean()) for s in samples]
    assert np.mean(shares) == pytest.approx(0.064, abs=0.001)
