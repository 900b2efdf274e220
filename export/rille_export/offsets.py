"""Offsets of class maps and of independent labels, put into the network's last layer.

A pixel goes to the class of the largest logit. Where labels are incomplete, as most of stones and
craters are, a network that is honest about a pixel rarely finds such a class more likely than
the rest. The share of overlap is highest at a lower threshold, about half the Dice that can be had
(Lipton et al. 2014, theorem 1), so each class gets an offset before the comparison.

Independent labels that are trained with evened classes and smoothed answers are off by a constant
of their own. Each gets an offset that makes its probabilities honest; the temperature that they
share is fitted later, on the quantised network (bias-corrected temperature scaling, Alexandari et
al. 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from rille.bundle.manifest import Contract
from rille.datasets import IGNORED, Dataset, MultiLabelSample, samples_of
from rille.images import read_image
from rille.preprocess import Preprocessor
from rille.tensor import TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.preprocess import Geometry

_STEPS = np.array([-1.0, -0.5, -0.25, 0.25, 0.5, 1.0])
_MOST = 4.0
_ROUNDS = 4
_MASKS, _LABELS = "classes", "logits"
_PRIOR = 0.02
"""Precision of the Gaussian prior that draws the offsets of labels to 0."""


def fit_offsets(model: Any, contract: Contract, dataset: Dataset, split: str) -> list[float]:
    """Return what to add to the logits of each class or label; nothing for other networks.

    Args:
        model: float32 Keras model.
        contract: its task, preprocessing and labels.
        dataset: labels it lacks keep the offset 0.
        split: the split to fit on.
    """
    if contract.task == "multilabel":
        said, holds = _labels(model, contract, dataset, split)
        return label_offsets(said, holds)
    if _MASKS not in model.output:
        return []
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


def label_offsets(logits: NDArray[np.float32], truth: NDArray[np.int8]) -> list[float]:
    """Return what to add to each label's logits for the highest likelihood at one temperature.

    Newton's method on the log of the inverse temperature and the offsets; the likelihood has one
    maximum, which a weak prior keeps finite where a label never or always holds.

    Args:
        logits: (n, labels).
        truth: (n, labels): 1 holds, 0 does not, -1 is left out.
    """
    count = logits.shape[1]
    clear = truth >= 0
    rows, places = np.nonzero(clear)
    x = np.zeros((len(rows), 1 + count))
    x[:, 0] = logits[clear]
    x[np.arange(len(rows)), 1 + places] = 1.0
    holds = truth[clear] == 1
    weights = np.r_[1.0, np.zeros(count)]
    prior = np.r_[0.0, np.full(count, _PRIOR)]
    for _ in range(100):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ weights, -30, 30)))
        slope = x.T @ (p - holds) + prior * weights
        bend = (x * (p * (1 - p))[:, None]).T @ x + np.diag(prior + 1e-9)
        step = np.linalg.solve(bend, slope)
        weights = weights - step * min(1.0, 2.0 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    if weights[0] <= 0:  # the network says nothing about what holds
        return [0.0] * count
    return [float(value) for value in weights[1:] / weights[0]]


def add_offsets(model: Any, offsets: Sequence[float]) -> Any:
    """Return the network with offsets added to its class maps or logits.

    They go into the bias of the layer that makes them, in place, where that layer is called after
    its output, as in all of ours; else an addition follows it.
    """
    role = _MASKS if _MASKS in model.output else _LABELS
    layers = [layer for layer in model.layers if layer.name == role]
    if layers and len(layers[0].get_weights()) == 2:
        kernel, bias = layers[0].get_weights()
        layers[0].set_weights([kernel, bias + np.asarray(offsets, bias.dtype)])
        return model
    shifted = keras.layers.Rescaling(1.0, offset=list(offsets), name="offsets")(model.output[role])
    return keras.Model(model.input, {**model.output, role: shifted}, name=model.name)


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


def _labels(
    model: Any, contract: Contract, dataset: Dataset, split: str
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Return logits and truth (n, labels) of a split; a label that the data lack is left out."""
    run = Preprocessor(contract.ops, TensorSpec(shape=(1, *model.input_shape[1:])))
    theirs = {label.name: k for k, label in enumerate(dataset.labels)}
    places = [theirs.get(name) for name in contract.label_names]
    logits, truth = [], []
    for sample in samples_of(dataset, split):
        assert isinstance(sample, MultiLabelSample)
        tensor, _ = run(read_image(sample.path))
        logits.append(np.asarray(model.predict_on_batch(tensor)[_LABELS], np.float32)[0])
        holds = [None if k is None else sample.holds[k] for k in places]
        truth.append([-1 if known is None else int(known) for known in holds])
    return np.stack(logits), np.array(truth, np.int8)


def _answers(
    model: Any, contract: Contract, dataset: Dataset, split: str
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return logits (n, classes) and mask values (n,) of the cells that are not ignored."""
    run = Preprocessor(contract.ops, TensorSpec(shape=(1, *model.input_shape[1:])))
    logits, truth = [], []
    for sample in samples_of(dataset, split):
        tensor, geometry = run(read_image(sample.path))
        answer = np.asarray(model.predict_on_batch(tensor)[_MASKS], np.float32)[0]
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
