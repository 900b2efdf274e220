"""U-Nets with one mask: their targets, their losses, the published score, training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rille.datasets import IGNORED, BoxSample, Label
from rille.errors import ConfigError
from rille.preprocess import Letterbox, Resize

pytest.importorskip("keras", reason="the train extra is not installed")

import keras

from rille_train.batches import open_batches
from rille_train.loop import train
from rille_train.losses import mask_losses
from rille_train.models.mask_unet import PUBLISHED_WIDTHS, mask_unet
from rille_train.one_mask import merged_values, one_mask, soft_scores
from rille_train.recipe import read_recipe

TINY = [
    'preprocess=[{op="gray"},{op="letterbox",width=64,height=64},{op="standardize"}]',
    "model.widths=[4,8]",
    "augment.window_px=32",
    "fit.epochs=2",
    "fit.batch=4",
    "fit.validate_every=1",
    "fit.precision=float32",
]


class _Labelled:
    """Stands for a data set of which only the labels matter."""

    root = Path("there")
    labels = (Label(1, "stone"), Label(2, "crater"), Label(3, "track"))


@pytest.mark.parametrize(
    ("kind", "channels", "parameters"),
    [("unet", 1, 31_054_145), ("resunet", 3, 142_609_217)],
)
def test_the_published_networks_can_be_built(kind: str, channels: int, parameters: int) -> None:
    """142.6 million parameters is what the crater experiment's layers add up to."""
    model = mask_unet((256, 256, channels), PUBLISHED_WIDTHS[kind], kind == "resunet")
    assert model.count_params() == parameters
    assert model.output["mask"].shape == (None, 256, 256, 1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["model.widths=[4,8,16,32]", "augment.window_px=36"], "36 px cannot be divided by 8"),
        (["fit.mask_loss=dice"], "mask_loss must be one of"),
        (["data.box_mask=circle"], "box_mask must be one of 'ellipse', 'rectangle'"),
        (["model.kind=mobilenet-v2"], "does not do segmentation"),
    ],
)
def test_what_does_not_fit_is_refused(settings: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_recipe("craters-resunet", settings)


def test_a_rectangle_is_a_quarter_larger_than_the_crater_in_it() -> None:
    """4 / pi: a perfect answer to one form scores 0.88 against the other."""
    sample = BoxSample(Path("a"), ((0, 0.5, 0.5, 0.5, 0.5),), "a")
    g, table = Letterbox(width=256, height=256).geometry(640, 640), np.zeros(256, np.uint8)
    ellipse, box = (one_mask(sample, g, table, form) for form in ("ellipse", "rectangle"))
    assert box.sum() == 128 * 128
    assert box.sum() / ellipse.sum() == pytest.approx(4 / np.pi, rel=0.02)
    assert 2 * (box & ellipse).sum() / (box.sum() + ellipse.sum()) == pytest.approx(0.88, abs=0.01)


def test_a_box_over_the_edge_leaves_a_trace() -> None:
    """Where the published code wraps around to the other side and draws nothing."""
    boxes = ((0, 0.02, 0.5, 0.2, 0.2), (0, 0.5, 0.98, 0.2, 0.2))
    g = Resize(width=100, height=100).geometry(100, 100)
    mask = one_mask(BoxSample(Path("a"), boxes, "a"), g, np.zeros(256, np.uint8), "rectangle")
    assert mask[40:60, :12].all() and mask[88:, 40:60].all()
    assert mask.sum() == 20 * 12 + 12 * 20


def test_labels_merge_into_one_mask() -> None:
    dataset: Any = _Labelled()
    table = merged_values(dataset, ["stone", "track"])
    assert table[[0, 1, 2, 3, IGNORED]].tolist() == [0, 1, 0, 1, IGNORED]
    assert merged_values(dataset, [])[:4].tolist() == [0, 1, 1, 1]
    with pytest.raises(ConfigError, match="has no 'rock', but stone, crater, track"):
        merged_values(dataset, ["rock"])


def test_losses_are_the_published_ones() -> None:
    rng = np.random.default_rng(0)
    target = (rng.random((2, 8, 8, 1)) < 0.3).astype(np.float32)
    logits = rng.normal(0, 2, target.shape).astype(np.float32)
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    bce = -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean()
    dice = 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)
    for name, wanted in (("bce", bce), ("soft-dice", dice), ("bce-dice", (bce + dice) / 2)):
        found = float(keras.ops.convert_to_numpy(mask_losses(name)(target, logits)))
        assert found == pytest.approx(wanted, rel=1e-5)
        unknown = target.copy()
        unknown[0, 0] = -1.0
        wild = logits.copy()
        wild[0, 0] = 50.0
        first, second = (mask_losses(name)(unknown, x) for x in (logits, wild))
        assert float(keras.ops.convert_to_numpy(first)) == pytest.approx(
            float(keras.ops.convert_to_numpy(second))
        )


def test_the_published_dice_is_a_mean_over_batches_of_probabilities() -> None:
    """Half a probability everywhere is no answer at all, and scores two thirds of a full mask."""
    everything = np.array([[50.0, 50.0, 100.0]] * 4)
    dice, precision, recall = soft_scores(everything, 2, 0)
    assert (dice, precision, recall) == pytest.approx((2 / 3, 1.0, 0.5), abs=1e-6)
    # One image of five is left out, and one batch counts as much as another.
    sums = np.array([[10.0, 10, 10], [0, 10, 10], [10, 10, 10], [0, 10, 10], [5, 10, 10]])
    order = np.random.default_rng(3).permutation(5)
    wanted = np.mean([2 * sums[order[k : k + 2], 0].sum() / 40 for k in (0, 2)])
    assert soft_scores(sums, 2, 3)[0] == pytest.approx(wanted, abs=1e-6)
    assert soft_scores(np.zeros((3, 3)), 16, 0)[0] == 1.0


def test_batches_of_windows_with_what_is_unknown(yolo_set: Path) -> None:
    from rille.bundle.manifest import Contract, LabelEntry
    from rille.datasets import YoloDataset

    recipe = read_recipe("craters-resunet", TINY)
    contract = Contract(
        name="a",
        version="0",
        task="segmentation",
        summary="",
        licence="",
        labels=(LabelEntry(id=0, name="crater"),),
        preprocess=recipe.preprocess,
        decision=recipe.decision,
    )
    batches = open_batches(recipe, [YoloDataset(yolo_set)], contract)
    images, targets = batches[0]
    assert images.shape == targets["mask"].shape == (4, 32, 32, 1)
    assert set(np.unique(targets["mask"])) <= {-1.0, 0.0, 1.0}
    again = open_batches(recipe, [YoloDataset(yolo_set)], contract)
    np.testing.assert_array_equal(again[0][0], images)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["ellipse", "rectangle"])
def test_craters_by_one_mask(form: str, yolo_set: Path, tmp_path: Path) -> None:
    """Trained and scored both ways; the published score stands beside the hard one."""
    recipe = read_recipe("craters-resunet", [*TINY, f"data.box_mask={form}"])
    result = train(recipe, yolo_set, tmp_path / "run")
    assert {"dice", "iou", "object_f1", "soft_batch_dice"} <= set(result.scores)
    stored = json.loads((tmp_path / "run" / "validation.json").read_text())
    assert stored["published"]["mask"] == form
    assert 0 <= stored["published"]["soft_batch_dice"] <= 1
    again = train(recipe, yolo_set, tmp_path / "run")
    assert again.scores == pytest.approx(result.scores)
    record = json.loads((tmp_path / "run" / "contract.json").read_text())
    assert record["contract"]["labels"] == [{"id": 0, "name": "crater"}]


@pytest.mark.slow
def test_rocks_by_one_mask(change_scenes: Path, tmp_path: Path) -> None:
    recipe = read_recipe("lunar-rocks-unet", [*TINY, 'data.labels=["stone","crater"]'])
    result = train(recipe, change_scenes, tmp_path / "run")
    assert "dice_stone+crater" in result.scores and "soft_batch_dice" in result.scores
    with pytest.raises(ConfigError, match="has no 'boulder'"):
        train(
            read_recipe("lunar-rocks-unet", [*TINY, 'data.labels=["boulder"]']),
            change_scenes,
            tmp_path / "other",
        )
