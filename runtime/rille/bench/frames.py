"""The frames that are measured on: a few of a simulated descent, the same on every machine."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.sim import Descent, Scene, build_scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

POOL = 16
_SEED = 7


@functools.cache
def _scene() -> Scene:
    """Return the ground, which takes two seconds to make."""
    return build_scene(_SEED)


def rendered(width: int, height: int) -> list[NDArray[np.uint8]]:
    """Return a few frames of a simulated descent as (height, width, 3) RGB."""
    descent = Descent(_scene(), _SEED, width, height, POOL)
    return [
        np.asarray(cv2.cvtColor(descent.frame(i)[0], cv2.COLOR_GRAY2RGB), np.uint8)
        for i in range(POOL)
    ]


def data_digest(frames: Sequence[NDArray[np.uint8]]) -> str:
    """Return the SHA-256 of frames, their shapes included, as hexadecimal digits."""
    found = hashlib.sha256()
    for pixels in frames:
        found.update(f"{pixels.shape}\n".encode())
        found.update(np.ascontiguousarray(pixels).data)
    return found.hexdigest()
