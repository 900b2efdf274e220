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
_FORGET_NS = 1_000_000_000
"""What a stage was seen to cost counts half as much for each second since."""


class SpareTime:
    """Probes stages that are shed, at most four times a second, ever more rarely in vain."""

    def __init__(self) -> None:
        self._pause_ns = _FIRST_PAUSE_NS
        self._last_ns = self._next_ns = 0
        self._seen_ms: dict[str, float] = {}
        self._found: dict[str, int] = {}

    def probe(self, stages: Iterable[Stage], pixels: NDArray[np.uint8], left_ms: float) -> None:
        """Run one stage that is shed, if it is likely done before the next frame comes.

        What it cost long ago tells little: the longer ago, the less is believed, so that in the end
        a frame may have to wait once for what turns out to be as slow as ever.

        Args:
            stages: all of them.
            pixels: (H, W, 3) or (H, W) uint8, the frame that was just published.
            left_ms: milliseconds until the next frame.
        """
        now = time.monotonic_ns()
        shed = [stage for stage in stages if stage.cost.sheds]
        if not shed:
            self._pause_ns, self._last_ns = _FIRST_PAUSE_NS, now
            self._seen_ms.clear()
            return
        stage = min(shed, key=lambda stage: stage.cost.predicted_ms)
        doubt = 0.5 ** ((now - self._last_ns) / _FORGET_NS)
        likely_ms = self._seen_ms.get(stage.name, stage.cost.predicted_ms) * doubt
        if now < self._next_ns or likely_ms + 1.0 > left_ms:
            return
        try:
            stage.network.run(pixels)
        except InferenceError:
            pass  # a frame that needs the stage will say so
        else:
            self._found[stage.name] = time.monotonic_ns() - now
            self._seen_ms[stage.name] = self._found[stage.name] / 1e6
        self._last_ns = time.monotonic_ns()
        self._next_ns = self._last_ns + self._pause_ns
        self._pause_ns = min(self._pause_ns * 5 // 4, _LONGEST_PAUSE_NS)

    def take(self) -> dict[str, int]:
        """Return stage -> nanoseconds of what was probed since the last call."""
        found, self._found = self._found, {}
        return found
