"""Checking a data set: what it holds, damaged files by name, leaks between splits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rille.datasets import BoxSample, Label, MultiLabelSample, open_dataset
from rille.datasets.balance import balance, uneven
from rille.datasets.check import Finding, Report, check, leaks_between, many


def found(findings: list[Finding], words: str) -> Finding:
    """Return the one finding with these words."""
    (one,) = [finding for finding in findings if words in finding.what]
    return one


def row(report: Report, split: str, name: str) -> Any:
    """Return the line of one class in the balance of a split."""
    rows = report.splits[split]["balance"]["classes"]
    return next(r for r in rows if r["name"] == name)


def test_a_sound_set_of_photographs(kaggle_set: Path) -> None:
    report = check(open_dataset(kaggle_set))
    assert report.troubles == []
    assert list(report.splits) == ["train", "val", "test"]
    train = report.splits["train"]
    assert train["images"] == 8
    assert train["keys"] == {"burst": 8, "original": 8, "sol": 2}
    assert train["sizes"] == [{"width": 48, "height": 32, "images": 8}]
    assert train["modes"] == {"colour": 8}
    assert row(report, "train", "ground")["count"] == 4
    assert row(report, "train", "ground")["share"] == 0.5
    assert report.notes == [Finding("1 class without an image", ("sun",))]
    assert report.uneven == []


def test_every_image_counts_towards_progress(kaggle_set: Path) -> None:
    seen: list[tuple[int, int]] = []
    check(open_dataset(kaggle_set), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k, 16) for k in range(1, 17)]


def test_damaged_files_are_all_named(kaggle_set: Path) -> None:
    first, second, third = sorted((kaggle_set / "images").iterdir())[:3]
    first.write_bytes(first.read_bytes()[:-40])
    second.write_bytes(b"")
    third.write_bytes(b"<html>quota exceeded</html>")
    report = check(open_dataset(kaggle_set))
    finding = found(report.troubles, "3 files unusable")
    assert [Path(name.split(":")[0]).name for name in finding.names] == [
        first.name,
        second.name,
        third.name,
    ]
    assert report.splits["train"]["sizes"] == [{"width": 48, "height": 32, "images": 5}]


def test_a_picture_under_two_names_in_two_splits(kaggle_set: Path) -> None:
    images = kaggle_set / "images"
    shutil.copy(
        images / "0003MR00000000100000E01_DRCL.JPG", images / "0005MR00000000100000E01_DRCL.JPG"
    )
    report = check(open_dataset(kaggle_set))
    finding = found(report.troubles, "1 picture in more than one split, byte for byte")
    assert finding.names == (
        "train: images/0003MR00000000100000E01_DRCL.JPG = "
        "val: images/0005MR00000000100000E01_DRCL.JPG",
    )
    assert len(report.troubles) == 1
    assert check(open_dataset(kaggle_set), fast=True).troubles == []


def test_two_splits_that_list_one_file(kaggle_set: Path) -> None:
    line = "calibrated/0003MR00000000100000E01_DRCL.JPG,8\n"
    with (kaggle_set / "Validation_CSV.csv").open("a") as file:
        file.write(line)
    for fast in (False, True):
        report = check(open_dataset(kaggle_set), fast=fast)
        assert [trouble.what for trouble in report.troubles] == [
            "1 burst in both train and val: 1 of the 5 images of val",
            "1 original in both train and val: 1 of the 5 images of val",
            "1 sol in both train and val: 1 of the 5 images of val",
            "1 picture in more than one split, byte for byte",
        ]
        name = "images/0003MR00000000100000E01_DRCL.JPG"
        assert found(report.notes, "1 image with different labels").names == (name,)
        assert found(report.notes, "1 original with different labels")


def test_a_sol_in_two_splits_is_a_leak(kaggle_set: Path) -> None:
    images = kaggle_set / "images"
    (images / "0006MR00000000100000E01_DRCL.JPG").rename(
        images / "0004MH00777700100000E01_DRCL.JPG"
    )
    path = kaggle_set / "Test_CSV.csv"
    path.write_text(path.read_text().replace("0006MR000000001", "0004MH007777001"))
    (trouble,) = check(open_dataset(kaggle_set)).troubles
    assert trouble == Finding("1 sol in both train and test: 1 of the 4 images of test", ("4",))


def test_copies_and_repeats_within_a_split_are_notes(kaggle_set: Path) -> None:
    images = kaggle_set / "images"
    shutil.copy(
        images / "0003MR00000000100000E01_DRCL.JPG", images / "0003MR00000300100003E01_DRCL.JPG"
    )
    with (kaggle_set / "Train_CSV.csv").open("a") as file:
        file.write("calibrated/0003MR00000100100001E01_DRCL.JPG,0\n")
    report = check(open_dataset(kaggle_set))
    assert report.troubles == []
    assert len(found(report.notes, "1 picture stored more than once in one split").names) == 1
    assert found(report.notes, "1 image listed more than once in train")
    assert found(report.notes, "1 image with different labels")


def test_a_class_that_val_lacks_is_named(kaggle_set: Path) -> None:
    path = kaggle_set / "Validation_CSV.csv"
    path.write_text(path.read_text().replace("JPG,8", "JPG,0"))
    report = check(open_dataset(kaggle_set))
    assert found(report.notes, "1 class missing from val").names == ("ground",)
    assert report.uneven == ["apxs", "ground"]


def test_boxes(yolo_set: Path) -> None:
    report = check(open_dataset(yolo_set))
    assert report.troubles == []
    train = report.splits["train"]
    assert report.splits["val"]["also"] == ["valid"]
    assert train["modes"] == {"grey": 9}
    figures = train["balance"]
    assert figures["kind"] == "boxes"
    assert figures["empty_images"] >= 1
    assert figures["boxes_per_image"]["min"] == 0
    counts = [len(s.boxes) for s in open_dataset(yolo_set).samples("train")]  # type: ignore[union-attr]
    assert figures["classes"][0]["count"] == sum(counts)
    assert figures["boxes_per_image"]["median"] == np.median(counts)
    assert 0 < figures["width_px"]["p5"] < figures["width_px"]["p95"] <= 416


def test_augmented_copies_in_two_splits_are_a_leak(yolo_set: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(yolo_set, root)
    image = cv2.imread(str(root / "train" / "images" / "t1.png"))
    assert image is not None
    cv2.imwrite(str(root / "train" / "images" / "x_jpg.rf.01ab.png"), image)
    cv2.imwrite(str(root / "valid" / "images" / "x_jpg.rf.77cd.png"), image[:, ::-1])
    report = check(open_dataset(root))
    (trouble,) = report.troubles
    assert trouble == Finding(
        "1 original in both train and val: 1 of the 5 images of val", ("x_jpg",)
    )


def test_masks(alrl_set: Path) -> None:
    report = check(open_dataset(alrl_set))
    assert report.troubles == []
    assert list(report.splits) == ["train", "val", "test", "real"]
    sample = open_dataset(alrl_set).samples("train")[0]
    mask = sample.mask()  # type: ignore[union-attr]
    for name, value in (("stone", 1), ("sky", 2)):
        line = row(report, "train", name)
        assert line["count"] == 7
        assert line["share"] == pytest.approx((mask == value).mean())
    assert row(check(open_dataset(alrl_set), fast=True), "train", "sky")["count"] is None


def test_unusable_masks_are_named(alrl_set: Path) -> None:
    folder = alrl_set / "images" / "ground"
    cv2.imwrite(str(folder / "ground0001.png"), np.zeros((64, 96, 3), np.uint8))
    cv2.imwrite(str(folder / "ground0002.png"), np.full((32, 48, 3), 128, np.uint8))
    (folder / "ground0003.png").write_bytes(b"")
    (trouble,) = check(open_dataset(alrl_set)).troubles
    assert trouble.what == "3 files unusable"
    assert "96 x 64 pixels" in trouble.names[0]
    assert "outside the palette" in trouble.names[1]
    assert "ground0003.png: no mask for render0003.png" in trouble.names[2]


def test_hazard_classes(alrl_set: Path) -> None:
    report = check(open_dataset(alrl_set, "classification"))
    counts = [line["count"] for line in report.splits["train"]["balance"]["classes"]]
    assert counts == [3, 2, 2]
    assert found(report.notes, "2 classes missing from val").names == ("scattered", "hazardous")


def test_photographs_without_a_mask_are_mentioned(alrl_set: Path) -> None:
    (alrl_set / "real_moon_images" / "g_PCAM5.png").unlink()
    report = check(open_dataset(alrl_set))
    assert report.splits["real"]["images"] == 1
    assert found(report.notes, "photographs without a mask g_<name>, left out of real: PCAM5.png")


def test_scenes_of_one_session_and_close_in_time(change_set: Path) -> None:
    report = check(open_dataset(change_set))
    (trouble,) = report.troubles
    assert trouble == Finding(
        "1 session in both train and val: 1 of the 2 images of val", ("PCAML-C 20140112",)
    )
    assert found(report.notes, "1 of the 2 time-stamped images of val have one of train")
    assert row(report, "train", "stone")["count"] == 2


def test_scenes_with_labels(change_set: Path) -> None:
    report = check(open_dataset(change_set, "multilabel"))
    assert row(report, "train", "stones") == {
        "id": 3,
        "name": "stones",
        "count": 2,
        "share": pytest.approx(2 / 3),
        "unclear": 0,
    }


def test_a_mask_of_another_size_than_the_image(change_set: Path) -> None:
    image = next((change_set / "valid").glob("*.jpg"))
    cv2.imwrite(str(image), np.full((40, 60, 3), 90, np.uint8))
    finding = found(check(open_dataset(change_set)).troubles, "1 file unusable")
    assert "its mask is 48 x 32 pixels, the image 60 x 40" in finding.names[0]


def test_a_scene_in_two_splits_is_a_leak(rendered_set: Path) -> None:
    report = check(open_dataset(rendered_set))
    assert report.troubles == []
    assert row(report, "train", "sky")["share"] == pytest.approx(16.5 / 32)
    table = json.loads((rendered_set / "val.json").read_text())
    table["images"] += json.loads((rendered_set / "train.json").read_text())["images"][:1]
    (rendered_set / "val.json").write_text(json.dumps(table))
    whats = [trouble.what for trouble in check(open_dataset(rendered_set)).troubles]
    assert whats[0] == "1 scene in both train and val: 1 of the 3 images of val"


@pytest.mark.parametrize("damage", ["missing", "empty", "class"])
def test_rendered_masks_that_are_damaged(rendered_set: Path, damage: str) -> None:
    path = rendered_set / "masks" / "scene-0000" / "frame-000001.png"
    if damage == "missing":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        cv2.imwrite(str(path), np.full((32, 48), 77, np.uint8))
    finding = found(check(open_dataset(rendered_set)).troubles, "1 file unusable")
    assert "masks/scene-0000/frame-000001.png: not a mask of" in finding.names[0]


@pytest.mark.parametrize("task", ["segmentation", "multilabel"])
def test_splits_without_an_image(
    change_set: Path, rille: Callable[..., int], capsys: Any, task: str
) -> None:
    for split in ("train", "valid"):
        path = change_set / split / "_annotations.coco.json"
        table = json.loads(path.read_text()) | {"images": [], "annotations": []}
        path.write_text(json.dumps(table))
        assert rille("data", "check", change_set, "--task", task) == 1
        assert "without an image\n    train" in capsys.readouterr().out


def test_polygons_have_one_split(polygon_set: Path) -> None:
    (polygon_set / "images" / "rock_3.png").write_bytes(b"")
    report = check(open_dataset(polygon_set))
    assert list(report.splits) == ["all"]
    assert report.splits["all"]["balance"]["empty_images"] == 1
    assert "rock_3.png" in found(report.troubles, "1 file unusable").names[0]


def test_unclear_cases_do_not_count() -> None:
    samples = [
        MultiLabelSample(Path(str(i)), (holds,), "g")
        for i, holds in enumerate((True, False, None, None, True))
    ]
    (line,) = balance(samples, [Label(1, "crater")], {}, {})["classes"]
    assert (line["count"], line["unclear"]) == (2, 2)
    assert line["share"] == pytest.approx(2 / 3)
    (line,) = balance(samples[2:4], [Label(1, "crater")], {}, {})["classes"]
    assert line["share"] is None


def test_a_split_without_images_is_counted_too() -> None:
    assert balance([], [Label(1, "crater")], {}, {})["classes"][0]["share"] is None


def test_sizes_of_boxes_are_in_pixels() -> None:
    sample = BoxSample(Path("x"), ((0, 0.5, 0.5, 0.1, 0.2), (0, 0.5, 0.5, 0.3, 0.2)), "x")
    figures = balance([sample], [Label(0, "crater")], {Path("x"): (200, 100)}, {})
    assert figures["width_px"]["p50"] == pytest.approx(40)
    assert figures["height_px"]["p50"] == pytest.approx(20)
    assert balance([sample], [Label(0, "crater")], {}, {})["width_px"] is None


@pytest.mark.parametrize(
    ("val", "off"), [(0.5, False), (0.41, False), (0.59, False), (0.39, True), (0.61, True)]
)
def test_shares_within_a_fifth_are_alike(val: float, off: bool) -> None:
    splits = [
        {"kind": "classes", "classes": [{"name": "x", "share": s}, {"name": "none", "share": 0.0}]}
        for s in (0.5, val)
    ]
    assert uneven(*splits) == (["x"] if off else [])


def test_leaks_for_a_trainer(kaggle_set: Path) -> None:
    dataset = open_dataset(kaggle_set)
    assert leaks_between(dataset.samples("train"), dataset.samples("val")) == []
    images = kaggle_set / "images"
    shutil.copy(
        images / "0003MR00000000100000E01_DRCL.JPG", images / "0005MR00000000100000E01_DRCL.JPG"
    )
    with (kaggle_set / "Validation_CSV.csv").open("a") as file:
        file.write("calibrated/0004MR00000100100001E01_DRCL.JPG,8\n")
    leaks = leaks_between(dataset.samples("train"), dataset.samples("val"))
    shared = "0004MR00000100100001E01_DRCL.JPG"
    copy = "0003MR00000000100000E01_DRCL.JPG and 0005MR00000000100000E01_DRCL.JPG"
    assert leaks[0] == f"group '0004MR000001' is in both splits: {shared} and {shared}"
    assert sorted(leaks[1:]) == [
        f"{copy} are the same picture, byte for byte",
        f"{shared} and {shared} are the same picture, byte for byte",
    ]


def test_numbers_and_their_nouns() -> None:
    assert [many(1, "class"), many(2, "class"), many(0, "sol")] == [
        "1 class",
        "2 classes",
        "0 sols",
    ]


@pytest.mark.data
@pytest.mark.slow
def test_the_real_photographs(data_root: Callable[[str], Path]) -> None:
    """The figures that the data set's own description gives."""
    report = check(open_dataset(data_root("msl_v1")))
    assert report.troubles == []
    assert [report.splits[s]["keys"]["sol"] for s in ("train", "val")] == [91, 103]
    assert report.splits["train"]["modes"] == {"colour": 3604, "grey": 142}
    assert len(found(report.notes, "pictures stored more than once").names) == 2
    assert len(found(report.notes, "originals with different labels").names) == 14
    assert found(report.notes, "without an image").names == ("sun",)
    assert len(found(report.notes, "missing from val").names) == 4


@pytest.mark.data
def test_the_real_scenes_share_sessions(data_root: Callable[[str], Path]) -> None:
    report = check(open_dataset(data_root("change_lunar")), fast=True)
    assert [trouble.what for trouble in report.troubles] == [
        "12 sessions in both train and val: 99 of the 99 images of val"
    ]
    assert found(report.notes, "46 of the 83 time-stamped images of val")


@pytest.mark.data
def test_the_real_tiles_are_apart(data_root: Callable[[str], Path]) -> None:
    dataset = open_dataset(data_root("lunar_craters"))
    assert leaks_between(dataset.samples("train"), dataset.samples("val")) == []
    report = check(dataset, fast=True)
    assert report.troubles == []
    figures = report.splits["val"]["balance"]
    assert figures["boxes_per_image"] == {"min": 1, "median": 27.0, "max": 119}
    assert [round(v) for v in figures["width_px"].values()] == [17, 25, 78]
