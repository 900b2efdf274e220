"""The representative data set: training images through the preprocessing that flies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.bundle.manifest import Contract
from rille.datasets import BoxSample, ImageSample
from rille.images import read_image
from rille.preprocess import Preprocessor
from rille.tensor import TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray


def choose(samples: Sequence[Any], count: int, seed: int = 1) -> list[ImageSample | BoxSample]:
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
    classes: defaultdict[int, list[Any]] = defaultdict(list)
    for _, sample in sorted(ranked, key=lambda item: item[0]):
        classes[sample.label_id if isinstance(sample, ImageSample) else 0].append(sample)
    chosen: list[Any] = []
    while len(chosen) < min(count, len(samples)):
        for queue in classes.values():
            if queue and len(chosen) < count:
                chosen.append(queue.pop(0))
    return chosen


def inputs(
    contract: Contract, shape: tuple[int, ...], samples: Sequence[ImageSample | BoxSample]
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
