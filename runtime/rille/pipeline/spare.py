"""The time between two frames: measuring, without anybody waiting, what a shed stage costs now."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rille.errors import InferenceError
from rille.pipeline.stages import Stage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FIRST_PAUSE_NS, _LONGEST_PAUSE_NS = 250_000_000, 2_000_000_000


class SpareTime:
    """Probes stages that are shed, at most four times a second, ever more rarely in vain."""

    def __init__(self) -> None:
        self._pause_ns = _FIRST_PAUSE_NS
        self._next_ns = 0
        self._found: dict[str, int] = {}

    def probe(self, stages: Iterable[Stage], pixels: NDArray[np.uint8], left_ms: float) -> None:
        """Run one stage that is shed, if it is done before the next frame comes.

        Args:
            stages: all of them.
            pixels: (H, W, 3) or (H, W) uint8, the frame that was just published.
            left_ms: milliseconds until the next frame.
        """
        now = time.monotonic_ns()
        shed = [stage for stage in stages if stage.cost.shed]
        if not shed:
            self._pause_ns = _FIRST_PAUSE_NS
            return
        stage = min(shed, key=lambda stage: stage.cost.predicted_ms)
        if now < self._next_ns or stage.cost.predicted_ms * 1.1 + 1.0 > left_ms:
            return
        try:
            stage.network.run(pixels)
        except InferenceError:
            pass  # a frame that needs the stage will say so
        else:
            self._found[stage.name] = time.monotonic_ns() - now
        self._next_ns = time.monotonic_ns() + self._pause_ns
        self._pause_ns = min(self._pause_ns * 5 // 4, _LONGEST_PAUSE_NS)

    def take(self) -> dict[str, int]:
        """Return stage -> nanoseconds of what was probed since the last call."""
        found, self._found = self._found, {}
        return found
