"""Outputs that cannot be answers: one number everywhere, or the same ones whatever is seen.

What is not finite is refused where outputs are decoded. None of the networks that come with rille
gave a constant output for black, white, grey or noisy pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille.bundle.manifest import FEATURES
from rille.errors import OutputStuckError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GRID = (16, 12)
_STEP = 8
_FEW = 64
_CHANGED = 2.0
"""Mean difference of two pictures' cells, in grey levels, from which they count as different."""


class OutputGuard:
    """Looks at the outputs of one network, frame after frame of one source.

    Args:
        limit: different pictures in a row with equal outputs from which they are refused; at
            least 3.
    """

    def __init__(self, limit: int = 10) -> None:
        if limit < 3:
            raise ValueError("limit must be at least 3")
        self._limit = limit
        self._repeats = 0
        self._before: dict[str, _Seen] = {}
        self._last: NDArray[np.float32] | None = None

    def __call__(self, outputs: Mapping[str, NDArray[Any]], pixels: NDArray[np.uint8]) -> None:
        """Take the outputs for a picture.

        Args:
            outputs: role -> stored numbers, as a backend returns them; features, from which
                answers are made, are not looked at.
            pixels: (H, W, 3) or (H, W) uint8, what they were computed from.

        Raises:
            OutputStuckError: every output holds one number throughout, or `limit` different
                pictures in a row gave equal outputs.
        """
        seen = {role: _Seen.of(values) for role, values in outputs.items() if role != FEATURES}
        if not self._same(seen):
            self._repeats, self._last = 0, None
        else:
            # Looked at only now: of most networks two answers in a row are never equal.
            self._repeats += self._changed(pixels)
        if all(one.constant for one in seen.values()):
            raise OutputStuckError("the network gave one and the same number everywhere")
        # The first two of a row are not compared with each other.
        if self._repeats + 2 > self._limit:
            raise OutputStuckError(
                f"the network gave the same output for {self._repeats + 2} different pictures"
            )

    def _same(self, seen: dict[str, _Seen]) -> bool:
        """Return whether these are the outputs before once more, and keep them."""
        before, self._before = self._before, seen  # a backend's arrays are fresh
        return before.keys() == seen.keys() and all(
            one.equals(before[role]) for role, one in seen.items()
        )

    def _changed(self, pixels: NDArray[np.uint8]) -> bool:
        """Return whether this picture differs by more than noise from the last one looked at."""
        plane = pixels if pixels.ndim == 2 else pixels[:, :, 1]
        step = max(1, min(plane.shape) // (_STEP * _GRID[1]))
        few = np.ascontiguousarray(plane[::step, ::step])
        cells = cv2.resize(few, _GRID, interpolation=cv2.INTER_AREA).astype(np.float32)
        before, self._last = self._last, cells
        return before is not None and float(np.abs(cells - before).mean()) >= _CHANGED


@dataclass(frozen=True, slots=True)
class _Seen:
    """One output, and few of its numbers, which mostly tell: NumPy takes ten times as long."""

    values: NDArray[Any]
    few: bytes

    @classmethod
    def of(cls, values: NDArray[Any]) -> _Seen:
        return cls(values, values.reshape(-1)[:: max(1, values.size // _FEW)].tobytes())

    def equals(self, other: _Seen) -> bool:
        return self.few == other.few and np.array_equal(self.values, other.values)

    @property
    def constant(self) -> bool:
        size = self.values.itemsize
        if self.values.size < 2 or self.few[size:] != self.few[:-size]:
            return False
        return bool(self.values.min() == self.values.max())
