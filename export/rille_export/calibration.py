"""The representative data set: training images through the preprocessing that flies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rille.bundle.manifest import Contract
from rille.datasets import Dataset, ImageSample, MultiLabelSample, Sample
from rille.errors import DatasetError
from rille.images import read_image
from rille.preprocess import Preprocessor
from rille.tensor import TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check_data(dataset: Dataset, contract: Contract, trained_on: object) -> None:
    """Refuse images that the network was not made for: ranges and scores would mean nothing.

    Args:
        dataset: what was opened.
        contract: what the network answers.
        trained_on: the name of the data set it learnt from; None where that is not known.

    Raises:
        DatasetError: another data set than that, or one that knows none of the labels.
    """
    if trained_on is not None and dataset.name != trained_on:
        raise DatasetError(
            f"{dataset.root}: is {dataset.name}, but {contract.name} was trained on "
            f"{trained_on}; calibrating and scoring need the data set it was trained on"
        )
    known = {label.name for label in dataset.labels}
    if known.isdisjoint(contract.label_names):
        raise DatasetError(
            f"{dataset.root}: shows {', '.join(sorted(known)[:6])}, and nothing that "
            f"{contract.name} answers ({', '.join(contract.label_names[:6])})"
        )


def choose(samples: Sequence[Sample], count: int, seed: int = 1) -> list[Sample]:
    """Choose samples that span the split: classes in turn, one image of a burst before a second.

    Args:
        samples: a split of a data set.
        count: how many; all of them where there are fewer.
        seed: of the order within a class.
    """
    rng = np.random.default_rng(seed)
    shuffled = [samples[k] for k in rng.permutation(len(samples))]
    seen: defaultdict[str, int] = defaultdict(int)
    ranked = []
    for sample in shuffled:
        ranked.append((seen[sample.group], sample))
        seen[sample.group] += 1
    classes: defaultdict[object, list[Sample]] = defaultdict(list)
    for _, sample in sorted(ranked, key=lambda item: item[0]):
        classes[_kind(sample)].append(sample)
    chosen: list[Sample] = []
    while len(chosen) < min(count, len(samples)):
        for queue in classes.values():
            if queue and len(chosen) < count:
                chosen.append(queue.pop(0))
    return chosen


def _kind(sample: Sample) -> object:
    """Return what a sample shows, as far as that is said of whole images."""
    if isinstance(sample, ImageSample):
        return sample.label_id
    return sample.holds if isinstance(sample, MultiLabelSample) else None


def inputs(
    contract: Contract, shape: tuple[int, ...], samples: Sequence[Sample]
) -> list[NDArray[np.float32]]:
    """Return the float32 network inputs of some samples.

    Args:
        contract: names the preprocessing.
        shape: (1, h, w, c) of the network's input.
        samples: what to read.

    Raises:
        FrameDecodeError: a damaged image.
    """
    run = Preprocessor(contract.ops, TensorSpec(shape=shape))
    return [run(read_image(sample.path))[0].copy() for sample in samples]
