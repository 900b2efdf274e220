"""Recipes small enough to train in a test."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

TINY_CRATERS = """
name = "tiny-craters"
version = "0"
task = "segmentation"
summary = "test"
licence = "test"
preprocess = [
    { op = "gray" },
    { op = "letterbox", width = 128, height = 128 },
    { op = "standardize" },
]
[data]
sun = "left"
[model]
kind = "crater-unet"
widths = [4, 8]
canonical_light = true
[fit]
epochs = 2
batch = 4
learning_rate = 2e-3
ema = 0.9
precision = "float32"
[augment]
flip = true
flip_vertical = true
window_px = 64
[decision]
feature_threshold = 0.05
"""

TINY_PHOTOS = """
name = "tiny-photos"
version = "0"
task = "classification"
summary = "test"
licence = "test"
preprocess = [
    { op = "rgb" },
    { op = "resize", width = 64, height = 64 },
    { op = "normalize", mean = [127.5], std = [127.5] },
]
[model]
kind = "mobilenet-v2"
freeze_below = "block_14_expand"
[fit]
epochs = 2
batch = 8
learning_rate = 1e-3
head_steps = 3
prior_strength = 1.0
precision = "float32"
[augment]
crop = 0.6
flip = true
brightness = 0.1
"""


@pytest.fixture(autouse=True)
def forgotten_networks() -> Iterator[None]:
    """Let go of a test's networks: Keras keeps every graph it was given.

    A full collection walks everything that TensorFlow made at its import, which takes a good part
    of a second. A test that made few objects, and so no network, leaves it to the next that does.
    """
    yield
    keras = sys.modules.get("keras")
    if keras is not None:
        keras.utils.clear_session(free_memory=gc.get_count()[2] > 0)


@pytest.fixture(scope="session")
def tiny_craters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "tiny-craters.toml"
    path.write_text(TINY_CRATERS)
    return path


@pytest.fixture
def tiny_photos(tmp_path: Path) -> Path:
    path = tmp_path / "tiny-photos.toml"
    path.write_text(TINY_PHOTOS)
    return path


TINY_APPLICATION = """
name = "tiny-application"
version = "0"
task = "classification"
summary = "test"
licence = "test"
preprocess = [
    { op = "rgb" },
    { op = "resize", width = 32, height = 32 },
    { op = "normalize", mean = [127.5], std = [127.5] },
]
[model]
kind = "application"
base = "MobileNet"
head = "batchnorm-dropout"
[fit]
head_epochs = 2
head_learning_rate = 1e-2
epochs = 2
batch = 8
learning_rate = 1e-4
keep = "best"
precision = "float32"
[augment]
flip = true
brightness = 0.1
"""


@pytest.fixture
def tiny_application(tmp_path: Path) -> Path:
    path = tmp_path / "tiny-application.toml"
    path.write_text(TINY_APPLICATION)
    return path


@pytest.fixture(scope="session")
def change_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny data set in the layout of the Chang'E scenes: bright stones on dark ground."""
    root = tmp_path_factory.mktemp("change")
    names = ["artifact", "boulder", "crater", "rock", "rocky region", "rover path"]
    rng = np.random.default_rng(8)
    for split, count in (("train", 12), ("valid", 6)):
        (root / split).mkdir()
        images: list[dict[str, object]] = []
        annotations: list[dict[str, object]] = []
        for number in range(count):
            pixels = rng.normal(70, 12, (90, 120, 3))
            name = f"PCAML-C-{number:03d}_SCI_N_201312{24 + number % 2}185837_x.jpg"
            images.append({"id": number, "file_name": name, "width": 120, "height": 90})
            for category in rng.permutation(5)[: number % 3]:
                x, y = (int(v) for v in rng.integers(5, 50, 2))
                pixels[y : y + 30, x : x + 40] += 25 * (category + 1)
                corners = [x, y, x + 40, y, x + 40, y + 30, x, y + 30]
                annotations.append(
                    {
                        "id": len(annotations),
                        "image_id": number,
                        "category_id": int(category),
                        "segmentation": [corners],
                    }
                )
            cv2.imwrite(str(root / split / name), np.clip(pixels, 0, 255).astype(np.uint8))
        table = {
            "categories": [{"id": k, "name": name} for k, name in enumerate(names)],
            "images": images,
            "annotations": annotations,
        }
        (root / split / "_annotations.coco.json").write_text(json.dumps(table))
    return root
