"""ALRL: palette, pairs by frame id, hazard classes, blocks of frames; folders are never labels."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from rille.datasets import AlrlDataset, Label, open_dataset, refuse_folder_labels
from rille.datasets.alrl import SKY, STONE, hazard, palette_classes
from rille.errors import DatasetError


def test_splits_are_blocks_of_frames(alrl_set: Path) -> None:
    dataset = open_dataset(alrl_set)
    assert isinstance(dataset, AlrlDataset)
    assert dataset.splits() == ["train", "val", "test", "real"]
    groups = {split: [s.group for s in dataset.samples(split)] for split in dataset.splits()}
    assert groups == {
        "train": ["1", "2", "3", "4", "5", "6", "6836"],
        "val": ["6837", "8301"],
        "test": ["8302", "8303", "9766"],
        "real": ["PCAM12", "PCAM5"],
    }
    assert dataset.keys(dataset.samples("val")[0]) == {"frame": "6837"}


def test_a_copy_that_lacks_frames_has_the_same_splits(alrl_set: Path) -> None:
    for frame in (1, 2, 8303, 9766):
        (alrl_set / "images" / "render" / f"render{frame:04d}.png").unlink()
    dataset = AlrlDataset(alrl_set)
    assert [s.group for s in dataset.samples("val")] == ["6837", "8301"]


def test_the_palette_is_rgb_and_rock_wins_over_sky(alrl_set: Path) -> None:
    sample = AlrlDataset(alrl_set).samples("train")[0]
    mask = sample.mask()  # type: ignore[union-attr]
    assert mask.shape == (32, 48)
    assert mask[0, 0] == SKY
    assert mask[14, 0] == 0  # darker than the threshold
    assert (mask[4:8, 4:8] == STONE).all()  # small rock and sky
    assert (mask[4:8, 12:20] == STONE).all()  # large rock and sky
    assert (mask[24:28, 4:8] == STONE).all()
    assert mask[-1, 0] == 0
    assert [label.name for label in AlrlDataset(alrl_set).labels] == ["stone", "sky"]


def test_colours_at_the_threshold() -> None:
    row = [(127, 0, 0), (128, 0, 0), (0, 127, 0), (0, 128, 0), (0, 0, 128), (128, 0, 128)]
    found = palette_classes(np.array([row], np.uint8))
    assert found.tolist() == [[0, SKY, 0, STONE, STONE, STONE]]


@pytest.mark.parametrize("kind", ["photograph", "grey"])
def test_a_colour_outside_the_palette_is_refused(alrl_set: Path, kind: str) -> None:
    path = alrl_set / "images" / "ground" / "ground0002.png"
    if kind == "photograph":
        shutil.copy(alrl_set / "images" / "render" / "render0002.png", path)
    else:
        cv2.imwrite(str(path), np.full((32, 48), 200, np.uint8))
    sample = AlrlDataset(alrl_set).samples("train")[1]
    with pytest.raises(DatasetError, match=r"ground0002\.png: .*outside the palette"):
        sample.mask()  # type: ignore[union-attr]


def test_a_rendered_mask_has_the_images_size(alrl_set: Path) -> None:
    path = alrl_set / "images" / "ground" / "ground0001.png"
    cv2.imwrite(str(path), np.zeros((64, 96, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"ground0001\.png: 96 x 64 pixels, but .*has 48 x 32"):
        AlrlDataset(alrl_set).samples("train")[0].mask()  # type: ignore[union-attr]


def test_a_hand_drawn_mask_is_brought_to_the_images_size(alrl_set: Path) -> None:
    larger, same = AlrlDataset(alrl_set).samples("real")
    assert larger.path.name == "PCAM12.png"
    mask = larger.mask()  # type: ignore[union-attr]
    assert mask.shape == (32, 48)
    assert set(np.unique(mask)) == {0, STONE, SKY}
    assert same.mask().shape == (32, 48)  # type: ignore[union-attr]


def test_pairs_go_by_frame_id_not_by_position(alrl_set: Path) -> None:
    (alrl_set / "images" / "render" / "render0001.png").unlink()
    samples = AlrlDataset(alrl_set).samples("train")
    assert samples[0].mask_path.name == "ground0002.png"  # type: ignore[union-attr]
    (alrl_set / "images" / "ground" / "ground0003.png").unlink()
    with pytest.raises(DatasetError, match=r"render0003\.png: no mask of frame 3 in .*ground"):
        AlrlDataset(alrl_set).samples("train")


def test_names_that_are_no_frames(alrl_set: Path) -> None:
    folder = alrl_set / "images" / "render"
    shutil.copy(folder / "render0001.png", folder / "._render0001.png")  # left by a Mac
    assert len(AlrlDataset(alrl_set).samples("train")) == 7
    shutil.copy(folder / "render0001.png", folder / "render1.png")
    with pytest.raises(DatasetError, match=r"render1\.png: has the frame id of render0001\.png"):
        AlrlDataset(alrl_set)
    (folder / "render1.png").rename(folder / "sheet.png")
    with pytest.raises(DatasetError, match=r"sheet\.png: no frame id"):
        AlrlDataset(alrl_set)


def test_a_damaged_mask_is_named(alrl_set: Path) -> None:
    (alrl_set / "images" / "ground" / "ground0001.png").write_bytes(b"\x89PNG no")
    with pytest.raises(DatasetError, match=r"ground0001\.png: no mask for render0001\.png"):
        AlrlDataset(alrl_set).samples("train")[0].mask()  # type: ignore[union-attr]


def test_hazard_classes_come_from_the_rocks(alrl_set: Path) -> None:
    dataset = open_dataset(alrl_set, "classification")
    assert [label.name for label in dataset.labels] == ["clear", "scattered", "hazardous"]
    assert [s.label for s in dataset.samples("train")] == ["0", "1", "1", "2", "2", "0", "0"]
    assert dataset.splits() == ["train", "val", "test"]
    with pytest.raises(DatasetError, match="no split 'real'"):
        dataset.samples("real")


def test_how_large_a_rock_is_a_hazard_by_itself() -> None:
    assert hazard([(720, 23.9)]) == 1
    assert hazard([(720, 24)]) == 2
    assert hazard([(10, 10)], size_px=(40, 50)) == 2


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (",Height", "", r":1: no column 'Height'"),
        ("Frame,", "Image,", r":1: no column 'Frame'"),
        ("2,0.5,0.5,30,40", "2,0.5,0.5,30", r":2: not a box"),
        ("2,0.5,0.5,30,40", "two,0.5,0.5,30,40", r":2: not a box"),
        ("2,0.5,0.5,30,40", "2,0.5,0.5,0,40", r":2: not a box"),
        ("2,0.5,0.5,30,40", "2,0.5,0.5,nan,40", r":2: not a box"),
    ],
)
def test_bad_boxes_are_named(alrl_set: Path, old: str, new: str, words: str) -> None:
    path = alrl_set / "bounding_boxes.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DatasetError, match=rf"bounding_boxes\.csv{words}"):
        open_dataset(alrl_set, "classification").samples("train")


def test_without_boxes_there_are_masks_only(alrl_set: Path) -> None:
    (alrl_set / "bounding_boxes.csv").unlink()
    assert len(open_dataset(alrl_set).samples("train")) == 7
    with pytest.raises(DatasetError, match="hazard classes need it"):
        open_dataset(alrl_set, "classification").samples("train")
    with pytest.raises(DatasetError, match="serves segmentation and classification, not multi"):
        open_dataset(alrl_set, "multilabel")


def test_the_storage_folders_of_alrl_are_no_classes(alrl_set: Path, tmp_path: Path) -> None:
    """As a public notebook took them: three folders, three classes, nothing learnt."""
    with pytest.raises(DatasetError, match=r"storage folders \(clean, ground, render\): they say"):
        open_dataset(alrl_set / "images")
    sorted_out = tmp_path / "sorted"
    for split in ("train", "val"):
        shutil.copytree(alrl_set / "images", sorted_out / split)
    with pytest.raises(DatasetError, match=r"storage folders \(clean, ground, render\)"):
        open_dataset(sorted_out)


def test_folders_of_other_names_are_not_read_either(alrl_set: Path, tmp_path: Path) -> None:
    root = tmp_path / "classes"
    for name in ("rocky", "smooth"):
        shutil.copytree(alrl_set / "images" / "render", root / name)
    with pytest.raises(DatasetError, match=r"folders as classes \(rocky, smooth, …\) are not read"):
        open_dataset(root)


def test_the_folder_above_a_data_set_names_it(alrl_set: Path) -> None:
    with pytest.raises(DatasetError, match="a folder in it is; name that one: alrl"):
        open_dataset(alrl_set.parent)


@pytest.mark.parametrize("names", [["render"], ["Train", "val"], ["images", " masks "]])
def test_labels_that_are_only_folders_are_refused(names: list[str]) -> None:
    with pytest.raises(DatasetError, match="storage folders"):
        refuse_folder_labels([Label(i, name) for i, name in enumerate(names)])


@pytest.mark.parametrize("names", [[], ["ground", "horizon"], ["crater"]])
def test_labels_of_their_own_stand(names: list[str]) -> None:
    refuse_folder_labels([Label(i, name) for i, name in enumerate(names)])


def test_an_index_that_names_folders_is_refused(yolo_set: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(yolo_set, root)
    (root / "data.yaml").write_text("train: train/images\nnames: [render]\n")
    with pytest.raises(DatasetError, match="storage folders"):
        open_dataset(root)
