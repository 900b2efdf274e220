"""What several networks need of one picture, made once: its grey plane, and it at half size."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille import kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Views:
    """One picture in other colours and sizes; each is made when it is first asked for, and kept.

    What `at` returns is overwritten after the next `show`. Threads may share it.
    """

    def __init__(self) -> None:
        self._pixels = np.zeros((0, 0), np.uint8)
        self._kept: dict[tuple[int, int], NDArray[np.uint8]] = {}
        self._made: set[tuple[int, int]] = set()
        self._lock = threading.RLock()

    def show(self, pixels: NDArray[np.uint8]) -> Views:
        """Take the next picture, (H, W, 3) RGB or (H, W) grey, uint8; return this object."""
        with self._lock:
            self._pixels = pixels
            self._made.clear()
        return self

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The picture as it came."""
        return self._pixels

    def at(self, channels: int, halvings: int) -> NDArray[np.uint8]:
        """Return the picture with so many channels, halved so many times.

        Halving takes exact averages of two by two pixels: as smooth as area resampling and several
        times faster.

        Args:
            channels: 1 for (h, w), 3 for (h, w, 3).
            halvings: 0 for its own size; an odd last row or column is spread over the others.
        """
        with self._lock:
            which = channels, halvings
            if which in self._made:
                return self._kept[which]
            kept = self._kept.get(which)
            if halvings == 0:
                made = coloured(self._pixels, channels, kept)
            else:
                made = kernels.halve(self.at(channels, halvings - 1), kept)
            if made is not self._pixels:
                self._kept[which] = made
                self._made.add(which)
            return made


def coloured(
    pixels: NDArray[np.uint8], channels: int, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Return the image with that many channels: what `gray` and `rgb` do.

    Args:
        pixels: (H, W, 3) RGB or (H, W) grey, uint8.
        channels: 1 or 3.
        out: memory for the result, used if it has the right shape.
    """
    grey = pixels.ndim == 2
    if grey == (channels == 1):
        return pixels
    if not grey:
        return kernels.gray(pixels, out)
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB, dst=out)  # type: ignore[return-value]  # stubs lose the dtype
