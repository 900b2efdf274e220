"""Fixed work that the parts of a stage are held against, so that a slow machine is no slow rille.

None of it is rille's own code, and it must stay as it is: a change of `VERSION` makes all earlier
baselines useless.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.network import Network

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 2
_NUMBERS = 64
_SMALL, _LARGE = 15, 120
_KERNEL = np.ones((3, 3), np.uint8)


def preprocess_reference(network: Network) -> Callable[[NDArray[np.uint8]], object]:
    """Return grey (if that is what the network takes), resize and one table, by OpenCV alone.

    It writes into buffers that it keeps: fresh memory costs more or less by chance.
    """
    _, rows, columns, channels = network.variant.input.shape
    table = np.arange(256, dtype=np.uint8)[::-1].copy()
    sized = np.empty((rows, columns, 3) if channels == 3 else (rows, columns), np.uint8)
    looked_up = np.empty_like(sized)
    grey: dict[tuple[int, ...], NDArray[np.uint8]] = {}

    def work(pixels: NDArray[np.uint8]) -> object:
        plane = pixels
        if channels == 1 and pixels.ndim == 3:
            kept = grey.setdefault(pixels.shape, np.empty(pixels.shape[:2], np.uint8))
            plane = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY, dst=kept), np.uint8)
        if channels == 3 and pixels.ndim == 2:
            plane = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)
        cv2.resize(plane, (columns, rows), dst=sized)
        return cv2.LUT(sized, table, dst=looked_up)

    return work


def postprocess_reference(network: Network) -> Callable[[], object]:
    """Return work like that of an answer: on numbers for classes, on maps for masks.

    It goes through as much memory as an answer does, and so suffers as much from what else fills
    the processor's caches.
    """
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal(_NUMBERS).astype(np.float32)
    if network.contract.task != "segmentation":
        return lambda: _soft(numbers, _SMALL)
    shapes = [entry.tensor.shape for entry in network.variant.outputs.values()]
    _, rows, columns, _ = max(shapes, key=lambda shape: shape[1] * shape[2])
    noise = cv2.GaussianBlur(rng.random((rows, columns)).astype(np.float32), (0, 0), 4)
    field = ((noise - 0.5) * 500).clip(-128, 127).astype(np.int8)
    few = np.ascontiguousarray(field[::2, ::2]).view(np.uint8)

    def work() -> object:
        mask = (field > 0).view(np.uint8)
        counts = np.bincount(mask.ravel(), minlength=4)
        tops = np.nonzero((few == cv2.dilate(few, _KERNEL)) & (few > 100))
        return int(counts[1]) + len(tops[0]) + _soft(numbers, _LARGE)

    return work


def _soft(numbers: NDArray[np.float32], times: int) -> float:
    total = 0.0
    for _ in range(times):
        powers = np.exp(numbers - numbers.max())
        total += float(powers[0] / powers.sum())
    return total
