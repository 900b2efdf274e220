"""Small data sets in their published layouts, written for each test so that it can spoil them."""

from __future__ import annotations

import importlib
import json
import platform
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rille.bundle import Bundle, install, write_bundle
from rille.ellipse import Ellipse
from rille.frame import CLASSES, Frame
from rille.kernels import library
from rille.preprocess import Resize
from rille.result import Classification, Feature, Result, Segmentation, State

X86 = platform.machine() == "x86_64"
RED, GREEN, BLUE, YELLOW, MAGENTA = (
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 0),
    (255, 0, 255),
)


def write_image(path: Path, seed: int, size: tuple[int, int] = (48, 32)) -> Path:
    """Write noise of (width, height) that no other seed gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    assert cv2.imwrite(str(path), noise)
    return path


def write_mask(path: Path, size: tuple[int, int] = (48, 32)) -> Path:
    """Write an ALRL mask: sky above ground, a rock of either kind, two of them over the horizon."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((size[1], size[0], 3), np.uint8)
    mask[: size[1] // 2] = RED
    mask[size[1] // 2 - 2] = (100, 0, 0)  # sky that darkens with distance
    mask[-8:-4, 4:8] = GREEN
    mask[-8:-4, 12:20] = BLUE
    mask[4:8, 4:8] = YELLOW
    mask[4:8, 12:20] = MAGENTA
    assert cv2.imwrite(str(path), mask[:, :, ::-1])
    return path


@pytest.fixture(scope="session")
def result() -> Callable[..., Result]:
    """Return a function that makes the result of one frame."""
    pixels = np.full((120, 160), 90, np.uint8)

    def make(index: int = 0, state: State = State.OK, age_ms: float = 12.0, **more: Any) -> Result:
        start = 1_000_000_000 + index * 100_000_000
        fields: dict[str, Any] = {
            "frame": Frame(pixels=pixels, index=index, captured_ns=start, name=f"f{index}"),
            "index": index,
            "state": state,
            "captured_ns": start,
            "published_ns": start + round(age_ms * 1e6),
            "deadline_ms": 50.0,
            "level": "full",
            "classification": Classification(
                label="horizon",
                label_id=9,
                probability=0.91,
                entropy=0.1,
                abstained=False,
                probabilities=np.array([0.09, 0.91], np.float32),
            ),
            "segmentation": Segmentation(
                mask=np.zeros((8, 8), np.uint8),
                geometry=Resize(width=8, height=8).geometry(160, 120),
                features=(Feature("crater", Ellipse(80, 60, 20, 15, 30.0), 0.8),),
                coverage=0.05,
            ),
            "timings_ms": {"classify infer": 4.0, "segment infer": 6.0},
        }
        fields.update(more)
        return Result(**fields)

    return make


@pytest.fixture(scope="session")
def lost(result: Callable[..., Result]) -> Callable[..., Result]:
    """Return a function that makes the result of a frame that was dropped or failed."""

    def make(index: int, state: State) -> Result:
        return result(
            index,
            state,
            frame=None,
            classification=None,
            segmentation=None,
            timings_ms={},
            cause="superseded" if state is State.DROPPED else None,
            error="damaged" if state is State.FAILED else None,
        )

    return make


@pytest.fixture
def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture
def alrl_set(tmp_path: Path) -> Path:
    """Twelve frames of ALRL over its three blocks, and two photographs."""
    root = tmp_path / "alrl"
    frames = (*range(1, 7), 6836, 6837, 8301, 8302, 8303, 9766)
    for frame in frames:
        write_image(root / "images" / "render" / f"render{frame:04d}.png", frame)
        for kind in ("ground", "clean"):
            write_mask(root / "images" / kind / f"{kind}{frame:04d}.png")
    for number in (5, 12):
        write_image(root / "real_moon_images" / f"PCAM{number}.png", 100_000 + number)
    write_mask(root / "real_moon_images" / "g_PCAM5.png")
    write_mask(root / "real_moon_images" / "g_PCAM12.png", (96, 64))
    rows = ["2,0.5,0.5,30,40", "3,1.5,1.5,30,30", "3,9.5,1.5,30,30"]
    rows += ["4,0.5,0.5,25,25"] * 3 + ["5,10.5,10.5,360,60"]
    header = "Frame,TopLeftCornerX,TopLeftCornerY,Length,Height"
    (root / "bounding_boxes.csv").write_text("\n".join([header, *rows]) + "\n")
    return root


@pytest.fixture
def kaggle_set(tmp_path: Path) -> Path:
    """MSL v1 as the Kaggle mirror has it: sols 3 and 4 train, 5 val, 6 test."""
    root = tmp_path / "Mars Surface and Curiosity Image"
    (root / "images").mkdir(parents=True)
    (root / "Labels Information.txt").write_text("0       apxs\n8       ground\n22      sun\n")
    for name, sols in (("Train", (3, 4)), ("Validation", (5,)), ("Test", (6,))):
        rows = ["JPG,LABELS"]
        for sol in sols:
            for shot, label in enumerate((0, 8, 8, 0)):
                file = f"{sol:04d}MR{shot:06d}0010{shot:04d}E01_DRCL.JPG"
                write_image(root / "images" / file, 10 * sol + shot)
                rows.append(f"calibrated/{file},{label}")
        (root / f"{name}_CSV.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture
def change_set(tmp_path: Path) -> Path:
    """Chang'E scenes: two days in train, one of them in val too, 30 s from an image of train."""
    root = tmp_path / "change"
    names = {
        "train": ("20140112135900", "20140113100000", "20140113120000"),
        "valid": ("20140112135930", "20140114100000"),
    }
    for split, stamps in names.items():
        images, annotations = [], []
        for index, stamp in enumerate(stamps):
            file = f"PCAML-C-{index:03d}_SCI_N_{stamp}_0008_A_2C_png.rf.{stamp}{split}.jpg"
            write_image(root / split / file, int(stamp) % 10**9)
            images.append({"id": index, "file_name": file, "width": 48, "height": 32})
            annotations.append(_annotation(index, 4 if index else 3))
        kinds = ("objects", "artifact", "boulder", "crater", "rock", "rocky region", "rover path")
        table = {
            "categories": [{"id": i, "name": kind} for i, kind in enumerate(kinds)],
            "images": images,
            "annotations": annotations,
        }
        (root / split / "_annotations.coco.json").write_text(json.dumps(table))
    return root


def _annotation(image: int, category: int) -> dict[str, Any]:
    square = [4, 4, 20, 4, 20, 20, 4, 20]
    return {"id": image, "image_id": image, "category_id": category, "segmentation": [square]}


@pytest.fixture
def polygon_set(tmp_path: Path) -> Path:
    """Four images, three with polygons, in one flat folder without a split."""
    root = tmp_path / "polygons"
    (root / "labels").mkdir(parents=True)
    for index in range(4):
        write_image(root / "images" / f"rock_{index}.png", index)
        if index:
            lines = ["0 0.25 0.25 0.5 0.25 0.5 0.5 0.25 0.5"] * index
            (root / "labels" / f"rock_{index}.txt").write_text("\n".join(lines))
    return root


@pytest.fixture
def rendered_set(tmp_path: Path) -> Path:
    """What `rille sim render` leaves, by hand: one scene of two frames each in train and in val."""
    root = tmp_path / "rendered"
    root.mkdir()
    (root / "scenario.json").write_text("{}")
    for scene, split in enumerate(("train", "val")):
        images = []
        for frame in range(2):
            stem = f"scene-{scene:04d}/frame-{frame:06d}.png"
            write_image(root / "images" / stem, 10 * scene + frame)
            (root / "masks" / stem).parent.mkdir(parents=True, exist_ok=True)
            mask = np.full((32, 48), CLASSES.index("ground"), np.uint8)
            mask[: 16 + frame] = CLASSES.index("sky")
            mask[-4:] = CLASSES.index("stone")
            assert cv2.imwrite(str(root / "masks" / stem), mask)
            images.append(
                {
                    "id": frame,
                    "file_name": f"images/{stem}",
                    "mask": f"masks/{stem}",
                    "width": 48,
                    "height": 32,
                    "labels": {"artifact": False, "tracks": None, "stones": True, "crater": False},
                }
            )
        table = {"categories": [], "images": images, "annotations": []}
        (root / f"{split}.json").write_text(json.dumps(table))
    return root


def version(bundle: Bundle, number: str, folder: Path) -> Bundle:
    """Return the same network under another version."""
    return write_bundle(folder / number, replace(bundle.manifest, version=number), bundle.files)


@pytest.fixture(scope="module")
def newer(mars_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return version(mars_bundle, "9.9.9", tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def third(mars_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return version(mars_bundle, "10.0.0", tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def installed(mars_bundle: Bundle, newer: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped bundle, and one on probation that flies instead of it."""
    folder = tmp_path_factory.mktemp("installed") / "site"
    for bundle in (mars_bundle, newer):
        install(bundle, folder, lambda slot: None)
    return folder


@pytest.fixture
def site(tmp_path: Path, installed: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(installed, tmp_path / "site"))


@pytest.fixture(params=sorted({library.kind_here(), "x86_64"} if X86 else {library.kind_here()}))
def each_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each library of compiled kernels that this machine can run."""
    chosen = library.load(request.param)
    for name in ("pixels", "masks", "centres", "found", "picture", "products"):
        module = importlib.import_module(f"rille.kernels.{name}")
        monkeypatch.setattr(module, "load", lambda: chosen)
