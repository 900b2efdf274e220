"""The frames that everything here is measured on, rendered once before any clock runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rille.sources import Source, open_source
from rille.uri import SourceUri

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.frame import Truth

SIZE = (640, 480)
POOL = 16
"""Different frames; more of them would show nothing new, fewer might let caches help."""


def rendered(count: int = POOL, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """Return (count, height, width, 3) RGB frames of a simulated drive on Mars, all different.

    Args:
        count: how many.
        size: width and height in pixels.
    """
    width, height = size
    options = f"view=rover&seed=7&realtime=0&truth=0&frames={count}&size={width}x{height}"
    with open_source(f"sim://mars?{options}") as camera:
        return np.stack([frame.pixels for frame in camera])


class PreRendered(Source):
    """A camera that shows frames from memory, again and again, at its own pace.

    Args:
        pixels: (n, H, W, 3) or (n, H, W) uint8.
        count: frames until it ends.
        fps: frames a second; None to give them whenever they are asked for.
    """

    def __init__(self, pixels: NDArray[np.uint8], count: int, fps: float | None) -> None:
        super().__init__(SourceUri("memory://frames", "memory", "frames", {}), fps)
        self._pixels, self._count = pixels, count

    @property
    def length(self) -> int:
        """Number of frames in all."""
        return self._count

    def describe(self) -> str:
        """Return one line for people."""
        return f"{self._count} frames from memory"

    def _next(self) -> tuple[NDArray[np.uint8], str, int | None, Truth | None] | None:
        if self.index >= self._count:
            return None
        return self._pixels[self.index % len(self._pixels)], "", None, None
