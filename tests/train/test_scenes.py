"""Scenes: what the batches teach, that the losses reward it, and training end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("keras", reason="the train extra is not installed")

from keras import ops

from rille.bundle import load_bundle
from rille.datasets import IGNORED, MultiLabelSample, open_dataset
from rille.errors import ConfigError, DatasetError
from rille_train.augment import warp_scene
from rille_train.batches import open_batches
from rille_train.batches.base import source_weights
from rille_train.batches.scenes import possible_classes
from rille_train.folds import FoldDataset, grouped_folds
from rille_train.loop import find_leaks, train
from rille_train.losses import independent_loss, possible_class_loss
from rille_train.recipe import AugmentRecipe, Recipe, read_recipe
from rille_train.trials import Material
from rille_train.trials.cross_validation import cross_validate

CATEGORIES = ("objects", "artifact", "boulder", "crater", "rock", "rocky region", "rover path")
PLACES = {"rock": (10, 10), "crater": (60, 20), "artifact": (20, 60), "rover path": (65, 65)}
COLOURS = {
    "rock": (60, 60, 250),
    "crater": (60, 250, 60),
    "artifact": (250, 60, 60),
    "rover path": (250, 250, 60),
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chang'E layout: squares of a colour for each class, six sessions."""
    root = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(3)
    for split, count in (("train", 18), ("valid", 6)):
        (root / split).mkdir()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index in range(count):
            name = f"C3_TCAM_{index % 6}_2C_{len(split)}{index:02d}_png.jpg"
            pixels = rng.normal(110, 12, (96, 96, 3))
            for category, (x, y) in PLACES.items():
                if rng.random() < 0.6:
                    pixels[y : y + 24, x : x + 24] = COLOURS[category]
                    square = [x, y, x + 24, y, x + 24, y + 24, x, y + 24]
                    annotations.append(
                        {
                            "id": len(annotations),
                            "image_id": index,
                            "category_id": CATEGORIES.index(category),
                            "segmentation": [square],
                        }
                    )
            cv2.imwrite(str(root / split / name), np.clip(pixels, 0, 255).astype(np.uint8))
            images.append({"id": index, "file_name": name, "width": 96, "height": 96})
        table = {
            "categories": [{"id": i, "name": n} for i, n in enumerate(CATEGORIES)],
            "images": images,
            "annotations": annotations,
        }
        (root / split / "_annotations.coco.json").write_text(json.dumps(table))
    return root


def tiny(name: str, *settings: str) -> Recipe:
    small = ["model.backbone=''", "fit.epochs=2", "fit.batch=4", "fit.precision=float32"]
    return read_recipe(name, [*small, *settings])


def tiny_rocks(*settings: str) -> Recipe:
    recipe = tiny(
        "moon-rocks",
        "augment.window_px=64",
        "model.widths=[4, 4, 8, 8]",
        'data.labels=["stone", "crater", "artifact", "track"]',
        "fit.class_weights=[1, 2, 2, 1, 2]",
        "decision.feature_labels=[]",
        *settings,
    )
    return smaller(recipe)


def smaller(recipe: Recipe) -> Recipe:
    """Return a recipe for images of 96 px."""
    small = tuple(
        {**op, "width": 96, "height": 96} if op["op"] == "resize" else op
        for op in recipe.preprocess
    )
    return replace(recipe, preprocess=small)


def test_what_a_set_does_not_know_it_cannot_deny(scenes: Path) -> None:
    dataset = open_dataset(scenes)
    table = possible_classes(dataset, ["stone", "sky", "track"])
    assert table[0].tolist() == [1, 0, 1, 0]  # the rest may be sky
    assert table[1].tolist() == [0, 1, 0, 0]
    assert table[2].tolist() == [1, 0, 0, 0]  # the network has no craters: the rest
    assert table[4].tolist() == [0, 0, 0, 1]
    assert table[IGNORED].tolist() == [1, 1, 1, 1]


def test_a_label_that_nobody_shows_is_refused(scenes: Path) -> None:
    recipe = tiny_rocks('data.labels=["stone", "sky"]', "fit.class_weights=[]")
    dataset = open_dataset(scenes)
    from rille_train.loop import _contract

    with pytest.raises(ConfigError, match=r"no data set shows 'sky'.*--extra"):
        open_batches(recipe, [dataset], _contract(recipe, dataset))


def test_masks_move_with_their_pixels() -> None:
    how = AugmentRecipe(rotate_deg=25, flip=True, flip_vertical=True, zoom=0.4)
    mask = np.zeros((120, 160), np.uint8)
    mask[40:80, 60:110] = 2
    image = np.where(mask == 2, 200, 50).astype(np.uint8)
    for seed in range(30):
        window, classes = warp_scene(image, mask, 96, how, np.random.default_rng(seed))
        inside = classes != IGNORED
        wrong = ((window > 125) != (classes == 2)) & inside
        assert wrong.mean() < 0.01
        assert inside.mean() > 0.5


def test_further_sets_get_their_share() -> None:
    weights = source_weights([10, 40, 5], 0.3)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[:10].sum() == pytest.approx(0.7)
    assert weights[10:50].sum() == weights[50:].sum() == pytest.approx(0.15)
    assert source_weights([4], 0.3).tolist() == [0.25] * 4


def test_the_mask_loss_rewards_what_is_possible() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (2, 8, 8))
    target = np.eye(3, dtype=np.float32)[truth]
    good, bad = 6 * target, 6 * np.eye(3, dtype=np.float32)[(truth + 1) % 3]
    loss = possible_class_loss([1.0, 2.0, 2.0])

    def value(t: Any, logits: Any) -> float:
        return float(ops.convert_to_numpy(loss(t, logits)))

    assert value(target, good) < 0.1 < value(target, bad)
    # All is possible: no answer is better than another.
    anything = np.ones_like(target)
    assert value(anything, good) == pytest.approx(value(anything, bad), abs=1e-6)
    # The rest may be class 2: saying either costs the same, saying class 1 costs more.
    either = np.zeros_like(target)
    either[..., [0, 2]] = 1.0
    plain = [6 * np.eye(3, dtype=np.float32)[np.full((2, 8, 8), k)] for k in range(3)]
    costs = [value(either, p) for p in plain]
    assert costs[0] == pytest.approx(costs[2], abs=1e-3) and costs[1] > costs[0] + 2


def test_unclear_labels_cost_nothing() -> None:
    loss = independent_loss(0.0)
    target = np.array([[1, 0, -1], [-1, 1, 0]], np.float32)
    logits = np.array([[2, -1, 50], [-50, 0.5, 1]], np.float32)
    clear = target >= 0
    p = 1 / (1 + np.exp(-logits[clear].astype(np.float64)))
    expected = -np.log(np.where(target[clear] == 1, p, 1 - p)).mean()
    assert float(ops.convert_to_numpy(loss(target, logits))) == pytest.approx(expected, rel=1e-5)


def test_folds_share_no_group_and_are_even() -> None:
    rng = np.random.default_rng(2)
    samples = []
    for group in range(40):
        kind = group % 4 == 0
        for k in range(int(rng.integers(1, 9))):
            sample = MultiLabelSample(Path(f"{group}-{k}"), (kind, None), f"g{group}")
            samples.append((sample, sample.group))
    folds = grouped_folds(samples, 5, seed=1)
    assert folds == grouped_folds(samples, 5, seed=1)
    assert sum(map(len, folds)) == 40 and len(frozenset().union(*folds)) == 40
    share = [sum(g in fold for _, g in samples) / len(samples) for fold in folds]
    holding = [sum(bool(s.holds[0]) for s, g in samples if g in fold) for fold in folds]
    assert max(share) - min(share) < 0.06
    assert max(holding) - min(holding) <= 8
    assert len(grouped_folds(samples, 0, seed=1)) == 40
    with pytest.raises(ConfigError, match="at most as many as there are groups"):
        grouped_folds(samples, 41, seed=1)


def test_a_fold_is_a_data_set(scenes: Path) -> None:
    whole = open_dataset(scenes, "multilabel")
    pool = [(s, s.group) for split in ("train", "val") for s in whole.samples(split)]
    fold = FoldDataset(whole, pool, frozenset({"C3_TCAM_2"}))
    assert {s.group for s in fold.samples("val")} == {"C3_TCAM_2"}
    assert len(fold.samples("train")) + len(fold.samples("val")) == 24
    find_leaks(tiny("moon-scene", "data.allow_leaks=false"), [fold])
    with pytest.raises(DatasetError, match=r"not independent.*--folds"):
        find_leaks(tiny("moon-scene", "data.allow_leaks=false"), [whole])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_masks_from_recipe_to_bundle(
    rille: Callable[..., int], scenes: Path, tmp_path: Path
) -> None:
    """Two kinds of data set at once; the bundle loads and answers with the recipe's labels."""
    result = train(tiny_rocks(), scenes, tmp_path / "run", extra=[scenes])
    assert set(result.detail["per_class"]) == {"stone", "crater", "artifact", "track"}
    record = json.loads((tmp_path / "run" / "contract.json").read_text())
    assert record["provenance"]["extra"][0]["images"] == 18
    words = ["--data", scenes, "--out", tmp_path / "b", "--force"]
    assert rille("export", tmp_path / "run", *words) == 0
    bundle = load_bundle(tmp_path / "b")
    assert bundle.manifest.label_names == ["stone", "crater", "artifact", "track"]
    assert bundle.manifest.variants["tflite-int8"].outputs["classes"].tensor.shape == (1, 48, 48, 5)
    assert "besides: change-scenes, 18 images" in bundle.files["MODEL_CARD.md"].decode()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_labels_by_cross_validation_and_to_a_bundle(
    rille: Callable[..., int], scenes: Path, tmp_path: Path
) -> None:
    recipe = smaller(tiny("moon-scene", "fit.head_epochs=1"))
    table = cross_validate(recipe, Material(scenes), tmp_path / "folds", count=2)
    assert len(table["folds"]) == 2 and sum(row["images"] for row in table["folds"]) == 24
    assert 0 <= table["pooled"]["macro_ap"] <= 1
    # Finished folds are kept.
    assert cross_validate(recipe, Material(scenes), tmp_path / "folds", count=2) == table
    words = ["--data", scenes, "--out", tmp_path / "b", "--force", "--tune", 0]
    assert rille("export", tmp_path / "folds" / "fold-01", *words) == 0
    manifest = load_bundle(tmp_path / "b").manifest
    assert manifest.task == "multilabel" and len(manifest.decision.label_thresholds) == 4
