"""A camera as a script without a capture thread of its own sees it: a driver with four buffers."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rille.frame import Frame
    from rille.sources import Source

BUFFERS = 4
"""What OpenCV asks a V4L2 driver for, and so what `cv2.VideoCapture` reads from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Streamed:
    """What became of the frames of a camera.

    Attributes:
        offered: frames that the camera gave.
        ages_ms: from capture to answer, of the frames that were answered.
        told: of those that were not, how many the program was told of: by a return value, an
            exception, a callback or a count.
    """

    offered: int
    ages_ms: list[float]
    told: int

    @property
    def lost(self) -> int:
        """Frames without an answer."""
        return self.offered - len(self.ages_ms)


class DriverQueue(threading.Thread):
    """Fills four buffers; a frame that finds them full is gone, as in a V4L2 driver.

    Args:
        camera: a source in real time.
    """

    def __init__(self, camera: Source) -> None:
        super().__init__(name="driver", daemon=True)
        self._camera = camera
        self._changed = threading.Condition()
        self._waiting: deque[Frame] = deque()
        self._ended = False

    def run(self) -> None:
        """Read until the camera ends."""
        while not self._camera.ended:
            frame = self._camera.read(0.1)
            if frame is None:
                continue
            with self._changed:
                if len(self._waiting) < BUFFERS:
                    self._waiting.append(frame)
                    self._changed.notify()
        with self._changed:
            self._ended = True
            self._changed.notify()

    def read(self) -> Frame | None:
        """Return the oldest frame, waiting for one; None when the camera has ended."""
        with self._changed:
            while not self._waiting and not self._ended:
                self._changed.wait()
            return self._waiting.popleft() if self._waiting else None


def read_as_a_driver_does(
    camera: Source, answer: Callable[[NDArray[np.uint8]], object]
) -> Streamed:
    """Read frame after frame from a driver's buffers and answer for each.

    Nothing that the driver throws away is ever told to the reader.
    """
    driver = DriverQueue(camera)
    driver.start()
    ages_ms = []
    while (frame := driver.read()) is not None:
        answer(frame.pixels)
        ages_ms.append((time.monotonic_ns() - frame.captured_ns) / 1e6)
    driver.join()
    return Streamed(offered=camera.index, ages_ms=ages_ms, told=0)
