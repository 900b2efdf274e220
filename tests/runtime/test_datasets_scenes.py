"""Rover scenes: Chang'E polygons and rendered masks, read as they are laid out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rille.datasets import IGNORED, ChangeScenes, SimulatedScenes, open_dataset
from rille.datasets.coco import run_length_mask
from rille.errors import DatasetError

CATEGORIES = ["objects", "artifact", "boulder", "crater", "rock", "rocky region", "rover path"]


def box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


@pytest.fixture
def change_set(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a set of one image a split with the given annotations."""

    def write(*shapes: tuple[str, Any], name: str = "PCAML-C-005_SCI_N_20131224185837_x") -> Path:
        for split in ("train", "valid"):
            folder = tmp_path / "change" / split
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"{name}.jpg"), np.full((100, 120, 3), 90, np.uint8))
            table = {
                "categories": [{"id": i, "name": n} for i, n in enumerate(CATEGORIES)],
                "images": [{"id": 7, "file_name": f"{name}.jpg", "width": 120, "height": 100}],
                "annotations": [
                    {"id": k, "image_id": 7, "category_id": CATEGORIES.index(c), "segmentation": s}
                    for k, (c, s) in enumerate(shapes)
                ],
            }
            (folder / "_annotations.coco.json").write_text(json.dumps(table))
        return tmp_path / "change"

    return write


def test_shapes_become_classes(change_set: Callable[..., Path]) -> None:
    """Certain over uncertain: a stone inside a region stays a stone, the region is ignored."""
    root = change_set(
        ("rock", box(10, 10, 20, 20)),
        ("boulder", box(30, 10, 40, 20)),
        ("rocky region", box(5, 5, 50, 30)),
        ("crater", box(60, 60, 80, 80)),
        ("rover path", box(70, 40, 75, 99)),
        ("artifact", box(100, 0, 120, 30)),
    )
    dataset = open_dataset(root)
    assert isinstance(dataset, ChangeScenes) and dataset.splits() == ["train", "val", "valid"]
    assert [label.name for label in dataset.labels] == ["stone", "crater", "artifact", "track"]
    (sample,) = dataset.samples("val")
    mask = sample.mask()  # type: ignore[union-attr]
    assert mask.shape == (100, 120)
    assert mask[15, 15] == 1 and mask[15, 35] == 1 and mask[25, 25] == IGNORED
    assert mask[70, 65] == 2 and mask[50, 72] == 4 and mask[10, 110] == 3
    assert mask[90, 10] == 0
    assert abs(int((mask[:50, :25] == 1).sum()) - 100) <= 21  # OpenCV includes the outline
    assert sample.group == "PCAML-C 20131224"


def test_labels_of_scenes(change_set: Callable[..., Path]) -> None:
    """A sliver of hardware is none; a region means stones."""
    root = change_set(("artifact", box(0, 0, 5, 5)), ("rocky region", box(5, 5, 50, 30)))
    (sample,) = open_dataset(root, "multilabel").samples("train")
    assert sample.holds == (False, False, True, False)  # type: ignore[union-attr]
    root = change_set(("artifact", box(0, 0, 20, 20)), ("rover path", box(5, 5, 50, 30)))
    (sample,) = open_dataset(root, "multilabel").samples("train")
    assert sample.holds == (True, True, False, False)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("C3_TCAM_4_2C_186_png", "C3_TCAM_4"),
        ("chang4_20190111183459_png", "chang4 20190111"),
        ("PCAML-Q-014_SCI_N_20131223000025_0005", "PCAML-Q 20131223"),
        ("something else", "something else.jpg"),
    ],
)
def test_sessions(change_set: Callable[..., Path], name: str, group: str) -> None:
    (sample,) = open_dataset(change_set(name=name)).samples("train")
    assert sample.group == group


def test_neighbours_in_time_can_be_left_out(change_set: Callable[..., Path]) -> None:
    root = change_set(name="chang4_20190111183459_png")
    assert open_dataset(root).samples("valid-apart") == []
    image = root / "valid" / "chang4_20190111183459_png.jpg"
    later = "chang4_20190111183601_png.jpg"
    image.rename(image.with_name(later))
    index = root / "valid" / "_annotations.coco.json"
    index.write_text(index.read_text().replace(image.name, later))
    (sample,) = open_dataset(root).samples("valid-apart")
    assert sample.path.name == later


def test_run_length_masks_in_both_forms() -> None:
    mask = np.zeros((5, 4), bool)
    mask[1:4, 1:3] = True
    counts = [6, 3, 2, 3, 6]
    assert (run_length_mask({"size": [5, 4], "counts": counts}, (5, 4)) == mask).all()
    # Packed: 6, 3, 2, then differences to the run two before: 3 - 3 = 0, 6 - 2 = 4.
    assert (run_length_mask({"size": [5, 4], "counts": "63204"}, (5, 4)) == mask).all()
    for wrong in ({"size": [4, 5], "counts": counts}, {"size": [5, 4], "counts": [6, 3]}):
        with pytest.raises(ValueError, match="image"):
            run_length_mask(wrong, (5, 4))


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([("rock", [["x", "y"]])], "cannot be understood"),
        ([("rock", [[1.0, 2.0, 3.0]])], "cannot be understood"),
        ([("rock", [[1e9, 0, 5, 5, 0, 5]])], "not a sensible number"),
        ([("rock", {"size": [3, 3], "counts": "0"})], "mask of"),
        ([("objects", box(0, 0, 9, 9))], "category 'objects' is not known"),
    ],
)
def test_bad_annotations_are_named(
    change_set: Callable[..., Path], shapes: Any, words: str
) -> None:
    with pytest.raises(DatasetError, match=words):
        open_dataset(change_set(*shapes)).samples("train")[0].mask()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "not a COCO annotation file"),
        ('{"categories": [], "images": [], "annotations": [{"id": 1, "image_id": 3}]}', "not here"),
        (
            '{"categories": [], "annotations": [], "images": [{"id": 1, "file_name": '
            '"../../etc/passwd", "width": 3, "height": 3}]}',
            "leads out of its folder",
        ),
        (
            '{"categories": [], "annotations": [], "images": [{"id": 1, "file_name": '
            '"absent.jpg", "width": 3, "height": 3}]}',
            "listed but not in",
        ),
    ],
)
def test_bad_files_are_named(change_set: Callable[..., Path], text: str, words: str) -> None:
    root = change_set()
    (root / "train" / "_annotations.coco.json").write_text(text)
    with pytest.raises(DatasetError, match=words):
        open_dataset(root).samples("train")


def test_scenes_serve_two_tasks_and_no_third(change_set: Callable[..., Path]) -> None:
    with pytest.raises(DatasetError, match="serves segmentation and multilabel"):
        open_dataset(change_set(), "classification")


def test_rendered_scenes(tmp_path: Path) -> None:
    """Ground is the rest; the labels of a frame that is no clear case are left open."""
    root = tmp_path / "drive"
    for kind in ("images", "masks"):
        (root / kind / "scene-0000").mkdir(parents=True)
    classes = np.repeat(np.arange(6, dtype=np.uint8), 8)[None].repeat(20, 0)
    cv2.imwrite(str(root / "images/scene-0000/frame-000000.png"), np.zeros((20, 48), np.uint8))
    cv2.imwrite(str(root / "masks/scene-0000/frame-000000.png"), classes)
    (root / "scenario.json").write_text("{}")
    image = {
        "id": 1,
        "file_name": "images/scene-0000/frame-000000.png",
        "mask": "masks/scene-0000/frame-000000.png",
        "width": 48,
        "height": 20,
        "labels": {"artifact": True, "tracks": None, "stones": False, "crater": True},
    }
    (root / "train.json").write_text(
        json.dumps({"categories": [], "annotations": [], "images": [image]})
    )
    dataset = open_dataset(root)
    assert isinstance(dataset, SimulatedScenes) and dataset.splits() == ["train"]
    (sample,) = dataset.samples("train")
    # sky, ground, crater, stone, artifact, track
    mask = sample.mask()  # type: ignore[union-attr]
    assert mask[3, ::8].tolist() == [5, 0, 2, 1, 3, 4]
    (labelled,) = open_dataset(root, "multilabel").samples("train")
    assert labelled.holds == (True, None, False, True)  # type: ignore[union-attr]
    cv2.imwrite(str(root / "masks/scene-0000/frame-000000.png"), classes + 3)
    with pytest.raises(DatasetError, match="not a mask of 6 classes"):
        sample.mask()  # type: ignore[union-attr]


@pytest.mark.data
def test_the_real_scenes_have_their_published_counts(data_root: Callable[[str], Path]) -> None:
    masks = open_dataset(data_root("change_lunar"))
    assert (len(masks.samples("train")), len(masks.samples("valid"))) == (363, 99)
    shares = np.zeros(256)
    for sample in masks.samples("valid"):
        shares += np.bincount(sample.mask().ravel(), minlength=256)  # type: ignore[union-attr]
    # As measured with another reader of the same polygons.
    assert shares[1:5] / shares.sum() == pytest.approx([0.0084, 0.0319, 0.0705, 0.0146], abs=2e-4)
    assert len(masks.samples("valid-apart")) == 37  # of 83 with a time stamp
    labelled = open_dataset(data_root("change_lunar"), "multilabel")
    assert len({sample.group for sample in labelled.samples("train")}) == 14
