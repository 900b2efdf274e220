"""Made outputs of a segmenter with a known number of round features."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille.bundle.manifest import Decision, LabelEntry, OutputEntry, Variant
from rille.postprocess import FeatureDecoder
from rille.preprocess import Geometry, Resize
from rille.tensor import TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INSIDE, _OUTSIDE = 60, -60
_MOST = 4096


def decoder_of(side: int) -> FeatureDecoder:
    """Return the decoder of a network with one int8 mask of `side` pixels squared."""
    spec = TensorSpec(shape=(1, side, side, 1), dtype="int8", scale=0.1, zero_point=0)
    variant = Variant(
        file="",
        target="tflite",
        precision="int8",
        input=spec,
        outputs={"mask": OutputEntry(index=0, tensor=spec)},
    )
    return FeatureDecoder(variant, Decision(max_features=_MOST), (LabelEntry(id=0, name="thing"),))


def outputs_with(count: int, side: int) -> tuple[dict[str, NDArray[Any]], Geometry]:
    """Return the stored mask of `count` discs that do not touch, and where it lies in 640 x 480.

    Args:
        count: features, at least 1; so many that a disc has at least 3 pixels across.
        side: width and height of the mask.
    """
    across = math.ceil(math.sqrt(count))
    cell = side / across
    if cell < 5:
        raise ValueError(f"{count} features do not fit into {side} pixels squared")
    picture = np.full((side, side), 0, np.uint8)
    for k in range(count):
        centre = (round((k % across + 0.5) * cell), round((k // across + 0.5) * cell))
        cv2.circle(picture, centre, max(1, round(cell * 0.3)), 1, -1)
    stored = np.where(picture == 1, _INSIDE, _OUTSIDE).astype(np.int8)
    noise = np.random.default_rng(count).integers(-20, 20, stored.shape, np.int8)
    return {"mask": (stored + noise)[None, :, :, None]}, Resize(width=side, height=side).geometry(
        640, 480
    )
