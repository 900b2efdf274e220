"""MSL v1 in the mirror's layout gives what the published one gives; what is wrong is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rille.datasets import MslDataset, open_dataset, sol_of
from rille.errors import DatasetError


def test_the_mirror_is_read_as_it_is(kaggle_set: Path) -> None:
    dataset = open_dataset(kaggle_set)
    assert isinstance(dataset, MslDataset)
    assert dataset.splits() == ["test", "train", "val"]
    assert [(label.id, label.name) for label in dataset.labels] == [
        (0, "apxs"),
        (8, "ground"),
        (22, "sun"),
    ]
    samples = dataset.samples("train")
    assert [s.label_id for s in samples] == [0, 8, 8, 0] * 2
    assert samples[0].path == kaggle_set / "images" / "0003MR00000000100000E01_DRCL.JPG"
    assert samples[0].group == "0003MR000000"


def test_both_layouts_give_the_same(kaggle_set: Path, tmp_path: Path) -> None:
    """The published layout, made from the mirror, lists the same files, labels and groups."""
    mirrored = open_dataset(kaggle_set).samples("train")
    root = tmp_path / "zenodo"
    root.mkdir()
    (kaggle_set / "images").rename(root / "calibrated")
    (kaggle_set / "Labels Information.txt").rename(root / "msl_synset_words-indexed.txt")
    rows = (kaggle_set / "Train_CSV.csv").read_text().splitlines()[1:]
    listed = "\n".join(row.replace(",", " ") for row in rows)
    (root / "train-calibrated-shuffled.txt").write_text(listed)
    published = open_dataset(root).samples("train")
    assert [(s.path.name, s.label, s.group) for s in published] == [
        (s.path.name, s.label, s.group) for s in mirrored
    ]


def test_keys_and_sols(kaggle_set: Path) -> None:
    dataset = MslDataset(kaggle_set)
    sample = dataset.samples("val")[1]
    assert sol_of(sample.path) == 5
    assert dataset.keys(sample) == {
        "burst": "0005MR000001",
        "original": "0005MR00000100100001",
        "sol": "5",
    }
    with pytest.raises(DatasetError, match=r"photo\.jpg: the name does not start with a sol"):
        sol_of(Path("photo.jpg"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("JPG,LABELS", "JPG,CLASS", r"Train_CSV\.csv:1: no column 'LABELS'"),
        ("JPG,LABELS", "", r"Train_CSV\.csv:1: no column 'JPG'"),
        ("E01_DRCL.JPG,8", "E01_DRCL.JPG,7", r":3: expected '<file>,<class id>'.*class id '7'"),
        ("E01_DRCL.JPG,8", "E01_DRCL.JPG,-8", r":3: expected '<file>,<class id>'"),
        ("E01_DRCL.JPG,8", "E01_DRCL.JPG", r":3: expected '<file>,<class id>'.*class id ''"),
        ("E01_DRCL.JPG,8", "E01_DRCL.JPG,8.0", r":3: expected '<file>,<class id>'"),
        ("E01_DRCL.JPG,8", f"E01_DRCL.JPG,{'9' * 5000}", r":3: expected '<file>,<class id>'"),
        ("calibrated/0003", "../0003", r":2: expected '<file>,<class id>'"),
        (
            "calibrated/0003",
            "calibrated/0002",
            r":2: calibrated/0002MR.* but not in .*images",
        ),
    ],
)
def test_bad_tables_are_named(kaggle_set: Path, old: str, new: str, words: str) -> None:
    path = kaggle_set / "Train_CSV.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DatasetError, match=words):
        open_dataset(kaggle_set).samples("train")


def test_a_table_without_rows(kaggle_set: Path) -> None:
    (kaggle_set / "Test_CSV.csv").write_text("JPG,LABELS\n")
    with pytest.raises(DatasetError, match=r"Test_CSV\.csv: lists no image"):
        open_dataset(kaggle_set).samples("test")


def test_a_missing_table_is_a_split_that_is_not_here(kaggle_set: Path) -> None:
    (kaggle_set / "Test_CSV.csv").unlink()
    with pytest.raises(DatasetError, match=r"no split 'test'.*\(here: train, val\)"):
        open_dataset(kaggle_set).samples("test")


def test_no_list_of_classes(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"neither msl_synset.* nor Labels"):
        MslDataset(tmp_path)


@pytest.mark.data
def test_real_products_and_sols(data_root: Callable[[str], Path]) -> None:
    dataset = MslDataset(data_root("msl_v1"))
    samples = {split: dataset.samples(split) for split in ("train", "val")}
    sols = {split: {sol_of(s.path) for s in found} for split, found in samples.items()}
    assert (len(sols["train"]), len(sols["val"])) == (91, 103)
    assert (min(sols["val"]), max(sols["train"])) == (182, 180)
    every = [s for found in samples.values() for s in found]
    assert len({dataset.keys(s)["original"] for s in every}) == 3338
    assert len({s.group for s in every}) == 852
