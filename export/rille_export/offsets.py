"""Offsets of class maps, fitted for Dice and put into the network's last layer.

A pixel goes to the class of the largest logit. Where labels are incomplete, as most of stones and
craters are, a network that is honest about a pixel rarely finds such a class more likely than
the rest. The share of overlap is highest at a lower threshold, about half the Dice that can be had
(Lipton et al. 2014, theorem 1), so each class gets an offset before the comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.bundle.manifest import Contract
from rille.datasets import IGNORED, Dataset, samples_of
from rille.images import read_image
from rille.preprocess import Preprocessor
from rille.tensor import TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.preprocess import Geometry

_STEPS = np.array([-1.0, -0.5, -0.25, 0.25, 0.5, 1.0])
_MOST = 4.0
_ROUNDS = 4
LAYER = "classes"
"""Name of the layer whose bias takes the offsets."""


def fit_offsets(model: Any, contract: Contract, dataset: Dataset, split: str) -> list[float]:
    """Return what to add to the logits of each class, the rest first; see `search_offsets`.

    Args:
        model: float32 Keras model with the output "classes".
        contract: its preprocessing and labels.
        dataset: with class masks; labels it lacks keep the offset 0.
        split: the split to fit on.
    """
    logits, truth = _answers(model, contract, dataset, split)
    return search_offsets(logits, truth, _values(contract, dataset))


def search_offsets(
    logits: NDArray[np.float32], truth: NDArray[np.uint8], values: dict[int, int]
) -> list[float]:
    """Return what to add to the logits of each class for the highest macro Dice.

    A search by coordinates, from 0 and in steps of 1 to 0.25, within 4.

    Args:
        logits, truth, values: see `macro_dice`.
    """
    offsets = np.zeros(logits.shape[1], np.float32)
    best = macro_dice(logits + offsets, truth, values)
    for _ in range(_ROUNDS):
        before = best
        for place in values:
            for step in _STEPS:
                tried = offsets.copy()
                tried[place] = np.clip(tried[place] + step, -_MOST, _MOST)
                score = macro_dice(logits + tried, truth, values)
                if score > best + 1e-5:
                    best, offsets = score, tried
        if best == before:
            break
    return [float(value) for value in offsets]


def add_offsets(model: Any, offsets: Sequence[float]) -> None:
    """Add offsets to the bias of the layer that makes the class maps, in place."""
    layer = model.get_layer(LAYER)
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, bias + np.asarray(offsets, bias.dtype)])


def macro_dice(
    logits: NDArray[np.float32], truth: NDArray[np.uint8], values: dict[int, int]
) -> float:
    """Return the mean Dice over classes of the class of the largest logit.

    Args:
        logits: (n, classes).
        truth: (n,) values of the data set's masks.
        values: channel of the network -> value in the masks.
    """
    said = logits.argmax(axis=1)
    scores = []
    for place, value in values.items():
        here, there = said == place, truth == value
        total = int(np.count_nonzero(here)) + int(np.count_nonzero(there))
        scores.append(2 * int(np.count_nonzero(here & there)) / max(total, 1))
    return float(np.mean(scores))


def _values(contract: Contract, dataset: Dataset) -> dict[int, int]:
    theirs = {label.name: k for k, label in enumerate(dataset.labels, 1)}
    names = enumerate(contract.label_names, 1)
    return {place: theirs[name] for place, name in names if name in theirs}


def _answers(
    model: Any, contract: Contract, dataset: Dataset, split: str
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return logits (n, classes) and mask values (n,) of the cells that are not ignored."""
    run = Preprocessor(contract.ops, TensorSpec(shape=(1, *model.input_shape[1:])))
    logits, truth = [], []
    for sample in samples_of(dataset, split):
        tensor, geometry = run(read_image(sample.path))
        answer = np.asarray(model.predict_on_batch(tensor)[LAYER], np.float32)[0]
        mask = sample.mask()  # type: ignore[union-attr]
        cells = _at_cells(mask, geometry, model.input_shape[1:3], answer.shape[:2])
        counted = cells != IGNORED
        logits.append(answer[counted])
        truth.append(cells[counted])
    return np.concatenate(logits), np.concatenate(truth)


def _at_cells(
    mask: NDArray[np.uint8],
    geometry: Geometry,
    taken: tuple[int, int],
    given: tuple[int, int],
) -> NDArray[np.uint8]:
    """Return a mask's value at the middle of each cell of the network's output; see `in_image`."""
    columns = (np.arange(given[1]) + 0.5) * taken[1] / given[1] - 0.5
    rows = (np.arange(given[0]) + 0.5) * taken[0] / given[0] - 0.5
    x, y = geometry.to_source(columns, rows)  # type: ignore[arg-type]
    u, v = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    height, width = mask.shape
    inside = ((v >= 0) & (v < height))[:, None] & ((u >= 0) & (u < width))
    cells = mask[np.clip(v, 0, height - 1)[:, None], np.clip(u, 0, width - 1)]
    return np.where(inside, cells, np.uint8(IGNORED))
