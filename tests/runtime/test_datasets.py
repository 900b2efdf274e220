"""Published layouts are read as they are; what does not fit names file and line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rille.datasets import BoxSample, MslDataset, YoloDataset, open_dataset
from rille.datasets.base import listing_digest
from rille.datasets.readable import readable
from rille.errors import DatasetError


def test_msl_layout(msl_set: Path) -> None:
    dataset = open_dataset(msl_set)
    assert isinstance(dataset, MslDataset)
    assert dataset.splits() == ["train", "val"]
    assert [label.name for label in dataset.labels] == [
        "apxs",
        "apxs cal target",
        "drill holes",
        "sun",
    ]
    samples = dataset.samples("train")
    assert len(samples) == 24
    assert {s.label_id for s in samples} == {0, 1, 5}
    assert all(s.group == s.path.name[:12] for s in samples)


def test_yolo_layout(yolo_set: Path) -> None:
    dataset = open_dataset(yolo_set)
    assert isinstance(dataset, YoloDataset)
    assert dataset.splits() == ["train", "val", "valid"]
    assert dataset.samples("val") == dataset.samples("valid")
    samples = dataset.samples("train")
    empty = next(s for s in samples if s.path.stem == "empty")
    assert empty.boxes == ()
    assert len(samples) == 9


@pytest.mark.parametrize(
    "names",
    ["names: [crater]", "names: ['crater']", "names:\n  - crater", "names:\n  0: crater\n"],
)
def test_names_in_every_published_form(yolo_set: Path, tmp_path: Path, names: str) -> None:
    root = tmp_path / "set"
    shutil.copytree(yolo_set, root)
    (root / "data.yaml").write_text(f"train: train/images\nval: valid/images\nnc: 1\n{names}\n")
    assert [label.name for label in YoloDataset(root).labels] == ["crater"]


def test_a_split_folder_that_the_index_forgets_counts_too(yolo_set: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(yolo_set, root)
    shutil.copytree(root / "valid", root / "test")
    assert len(YoloDataset(root).samples("test")) == 4


def test_boxes_cut_at_the_border_are_completed() -> None:
    """Whole boxes tell the ratio of this projection; the uncut side tells the size."""
    whole = [(0, 0.5, 0.2 + 0.1 * k, 0.12, 0.10) for k in range(5)]
    cut = (0, 0.05, 0.5, 0.10, 0.10)  # touches the left border: 0.02 of 0.12 are missing
    corner = (0, 0.97, 0.97, 0.06, 0.06)
    ellipses = BoxSample(Path("x"), (*whole, cut, corner), "x").ellipses(1000, 1000)
    left = ellipses[5]
    assert (left.semi_major, left.semi_minor) == pytest.approx((60, 50), abs=0.5)
    assert left.x == pytest.approx(39.5, abs=0.5)
    assert ellipses[6].x > 965


def test_whole_boxes_are_taken_as_they_are() -> None:
    (e,) = BoxSample(Path("x"), ((0, 0.5, 0.5, 0.2, 0.1),), "x").ellipses(640, 640)
    assert (e.x, e.y, e.semi_major, e.semi_minor) == pytest.approx((319.5, 319.5, 64, 32))


def test_no_such_split_lists_those_that_are_here(msl_set: Path, yolo_set: Path) -> None:
    with pytest.raises(DatasetError, match=r"no split 'vall'; did you mean 'val'\? \(here: train"):
        open_dataset(msl_set).samples("vall")
    with pytest.raises(DatasetError, match="no split 'test'"):
        open_dataset(yolo_set).samples("test")


def test_roots_that_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        open_dataset(tmp_path / "absent")
    with pytest.raises(DatasetError, match="layout not recognised"):
        open_dataset(tmp_path)


@pytest.fixture
def spoilt_msl(msl_set: Path, tmp_path: Path) -> Callable[[str], Path]:
    def write(line: str) -> Path:
        root = tmp_path / "msl"
        shutil.copytree(msl_set, root)
        path = root / "train-calibrated-shuffled.txt"
        path.write_text(path.read_text() + line + "\n")
        return root

    return write


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("calibrated/x.JPG", "expected '<file> <class id>'"),
        ("calibrated/x.JPG 99", "expected '<file> <class id>'"),
        ("calibrated/x.JPG one", "expected '<file> <class id>'"),
        ("calibrated/x.JPG 5", r"calibrated/x\.JPG is listed but not in"),
    ],
)
def test_bad_lines_are_named(spoilt_msl: Callable[[str], Path], line: str, words: str) -> None:
    with pytest.raises(DatasetError, match=rf"train-calibrated-shuffled\.txt:25: .*{words}"):
        open_dataset(spoilt_msl(line)).samples("train")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 0.5 0.5 0.1", "expected 'class x y w h'"),
        ("3 0.5 0.5 0.1 0.1", "expected 'class x y w h'"),
        ("0 1.5 0.5 0.1 0.1", "expected 'class x y w h'"),
        ("0 nan 0.5 0.1 0.1", "expected 'class x y w h'"),
        ("0 0.5 0.5 0 0.1", r"width and height must be in \(0, 1\]"),
        ("0 0.5 0.5 nan 0.1", r"width and height must be in \(0, 1\]"),
    ],
)
def test_bad_boxes_are_named(yolo_set: Path, tmp_path: Path, line: str, words: str) -> None:
    root = tmp_path / "set"
    shutil.copytree(yolo_set, root)
    (root / "train" / "labels" / "t0.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(DatasetError, match=rf"t0\.txt:2: {words}"):
        open_dataset(root).samples("train")


def test_an_index_without_names(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("train: train/images\n")
    with pytest.raises(DatasetError, match="no class names"):
        open_dataset(tmp_path)


def test_the_digest_tells_versions_apart(msl_set: Path) -> None:
    samples = open_dataset(msl_set).samples("train")
    assert listing_digest(samples, msl_set) == listing_digest(samples, msl_set)
    assert listing_digest(samples, msl_set) != listing_digest(samples[:-1], msl_set)


@pytest.mark.data
def test_the_real_sets_have_their_published_counts(data_root: Callable[[str], Path]) -> None:
    msl = open_dataset(data_root("msl_v1"))
    assert (len(msl.samples("train")), len(msl.samples("val"))) == (3746, 1640)
    assert len(msl.labels) == 25
    tiles = YoloDataset(data_root("lunar_craters"))
    assert (len(tiles.samples("train")), len(tiles.samples("val"))) == (651, 331)
    # Four label lines in train and one in valid are repeated: 28,888 and 10,153 with them.
    counts = {x: sum(len(s.boxes) for s in tiles.samples(x)) for x in ("train", "val")}
    assert counts == {"train": 28_884, "val": 10_152}


def test_what_cannot_be_read_is_listed_and_left_out_only_when_asked(
    yolo_set: Path, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    shutil.copytree(yolo_set, root)
    assert readable(YoloDataset(root), "train+val", skip=False)[1] == []
    for index in range(7):
        (root / "train" / "images" / f"t{index}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DatasetError, match=r"7 of 13 images.*t0\.png.*and 2 more.*--skip"):
        readable(YoloDataset(root), "train+val", skip=False)
    rest, reasons = readable(YoloDataset(root), "train+val", skip=True)
    assert len(reasons) == 7 and len(rest.samples("train")) == 2 and len(rest.samples("val")) == 4
    assert rest.splits() == ["train", "val", "valid"] and rest.labels[0].name == "crater"
    assert rest.keys(rest.samples("val")[0])["original"]
    with pytest.raises(DatasetError, match="no image of train can be read"):
        for path in (root / "train" / "images").iterdir():
            path.write_bytes(b"")
        readable(YoloDataset(root), "train", skip=True)
