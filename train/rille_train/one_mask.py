"""One mask for a sample, and the published score of such masks.

The crater experiment on LU3M6TGT fills the *rectangle* of each box and reports a *soft* Dice: of
probabilities, not of a thresholded mask, for each batch of a shuffled split, the last incomplete
batch left out, and then the mean over batches. It is computed here as it was there, beside the
hard Dice that other work means: the two are never comparable. For a circle the rectangle is 4/pi as
large as the crater, so that a perfect answer to one form scores 0.88 against the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille.datasets import IGNORED, BoxSample, Dataset, Sample, samples_of
from rille.ellipse import draw_ellipses
from rille.errors import ConfigError, DatasetError
from rille.evaluate import Evaluation
from rille.images import read_image
from rille.metrics import PixelCounts
from rille.network import Network
from rille.postprocess.classification import sigmoid
from rille.preprocess import Geometry
from rille_train.recipe import Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SMALL = 1e-7
"""The published metric's guard against an empty batch."""


def merged_values(dataset: Dataset, labels: Sequence[str]) -> NDArray[np.uint8]:
    """Return what each value of a data set's masks becomes in one mask.

    Args:
        dataset: its labels give the values.
        labels: those inside; empty for all.

    Returns:
        (256,) uint8: 1 inside, 0 outside, `IGNORED` where the data set does not say.

    Raises:
        ConfigError: a label that the data set does not have.
    """
    names = [label.name for label in dataset.labels]
    for name in labels:
        if name not in names:
            raise ConfigError(
                f"data.labels: {dataset.root} has no {name!r}, but {', '.join(names)}"
            )
    table = np.zeros(256, np.uint8)
    for value, name in enumerate(names, 1):
        table[value] = name in labels or not labels
    table[IGNORED] = IGNORED
    return table


def one_mask(sample: Sample, g: Geometry, table: NDArray[np.uint8], form: str) -> NDArray[np.uint8]:
    """Return a sample's mask at the network's scale.

    Args:
        sample: with boxes or with a class mask.
        g: where the network's pixels lie in the image.
        table: what class values become; see `merged_values`. Boxes are all drawn.
        form: what is drawn in a box: "ellipse" or "rectangle".

    Returns:
        (g.height, g.width) uint8: 1 inside, 0 outside, `IGNORED`.

    Raises:
        DatasetError: a mask of another size than its image.
    """
    if isinstance(sample, BoxSample):
        return rectangles(sample, g) if form == "rectangle" else ellipses(sample, g)
    mask = sample.mask()  # type: ignore[union-attr]
    if mask.shape != (g.source_height, g.source_width):
        raise DatasetError(
            f"{sample.path}: image of {g.source_width} x {g.source_height} px, mask of "
            f"{mask.shape[1]} x {mask.shape[0]}"
        )
    small = cv2.resize(table[mask], (g.width, g.height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(small, np.uint8)


def ellipses(sample: BoxSample, g: Geometry) -> NDArray[np.uint8]:
    """Fill the ellipse in each box, those cut by the image's edge completed first."""
    mask = np.zeros((g.height, g.width), np.uint8)
    shift = (0.5 * g.scale_x - 0.5, 0.5 * g.scale_y - 0.5)
    found = sample.ellipses(g.source_width, g.source_height)
    draw_ellipses(mask, [e.mapped(g.scale_x, g.scale_y, *shift) for e in found])
    return mask


def rectangles(sample: BoxSample, g: Geometry) -> NDArray[np.uint8]:
    """Fill each box as published: corners cut to whole pixels, the last row and column left out.

    A corner beyond the left or upper edge counts as that edge; in the published code it wraps
    around, and the box leaves no trace.
    """
    mask = np.zeros((g.height, g.width), np.uint8)
    for _, x, y, w, h in sample.boxes:
        left, top = (
            max(0, int((c - s / 2) * n)) for c, s, n in ((x, w, g.width), (y, h, g.height))
        )
        right, low = int((x + w / 2) * g.width), int((y + h / 2) * g.height)
        mask[top : max(low, 0), left : max(right, 0)] = 1
    return mask


def with_published(
    result: Evaluation, network: Network, dataset: Dataset, recipe: Recipe
) -> Evaluation:
    """Add the published soft Dice of a network with one mask to its scores.

    Args:
        result: the hard scores.
        network: what was scored.
        dataset: on what; the recipe's validation split.
        recipe: the form of masks, the batch, the seed.
    """
    figures = published_scores(network, dataset, recipe)
    return replace(
        result,
        scores={**result.scores, "soft_batch_dice": figures["soft_batch_dice"]},
        detail={**result.detail, "published": figures},
    )


def published_scores(network: Network, dataset: Dataset, recipe: Recipe) -> dict[str, Any]:
    """Return soft batch Dice, precision and recall as published, and hard Dice on the same masks.

    Args:
        network: with one output "mask".
        dataset: its `recipe.data.validation` split is scored.
        recipe: form of masks, batch, seed of the order.
    """
    table = merged_values(dataset, recipe.data.labels)
    spec = network.variant.outputs["mask"].tensor
    counts, sums = PixelCounts(), []
    for sample in samples_of(dataset, recipe.data.validation):
        tensor, g = network.preprocessor(read_image(sample.path))
        logits = spec.dequantize(network.backend.infer(tensor)["mask"])[0, :, :, 0]
        inner = logits[g.top : g.top + g.height, g.left : g.left + g.width]
        truth = one_mask(sample, g, table, recipe.data.box_mask)
        known = truth != IGNORED
        p, inside = sigmoid(inner[known], 1.0), truth[known] == 1
        sums.append((float(p[inside].sum()), float(p.sum()), float(inside.sum())))
        counts.add(p > network.contract.decision.mask_threshold, inside)
    dice, precision, recall = soft_scores(np.array(sums), recipe.fit.batch, recipe.fit.seed)
    return {
        "soft_batch_dice": dice,
        "soft_batch_precision": precision,
        "soft_batch_recall": recall,
        "hard_dice": counts.scores()["dice"],
        "mask": recipe.data.box_mask,
        "batch": recipe.fit.batch,
        "definition": "soft: (2 sum(p t) + 1e-7) / (sum p + sum t + 1e-7) of probabilities p and "
        "masks t over each batch of a shuffled split, the incomplete one left out, mean over "
        "batches; hard: the same masks after the threshold, counts over the whole split",
    }


def soft_scores(sums: NDArray[np.float64], batch: int, seed: int) -> tuple[float, float, float]:
    """Return the published soft Dice, precision and recall: means over shuffled whole batches.

    Args:
        sums: (n, 3) for each image: of probability times mask, of probability, of mask.
        batch: images in a batch; where there are fewer, they are one batch.
        seed: of the order.
    """
    order = np.random.default_rng(seed).permutation(len(sums))
    size = min(batch, len(sums))
    whole = len(sums) // size * size
    both, said, true = sums[order[:whole]].reshape(-1, size, 3).sum(axis=1).T
    dice = (2 * both + _SMALL) / (said + true + _SMALL)
    return tuple(float(v.mean()) for v in (dice, both / (said + _SMALL), both / (true + _SMALL)))  # type: ignore[return-value]
