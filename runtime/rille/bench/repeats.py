"""Does the same frame once more cost as much as the first time? If not, results are kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.errors import CheckFailedError
from rille.frame import Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.pipeline import Pipeline
    from rille.result import Result

_ROUNDS = 24
_KEPT = 0.5
"""Ratio below which a second sight is not the same work: caches of a processor save far less."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """The second sight of frames beside their first one.

    Attributes:
        frames: frames, none of which was seen before.
        ratios: "frame" and each inference -> the fastest second sight over the fastest first one:
            medians say more about what else the machine had to do.
    """

    frames: int
    ratios: dict[str, float]

    def check(self) -> None:
        """Refuse times that were saved by keeping results.

        Raises:
            CheckFailedError: the second sight of a frame took less than half the time of the first.
        """
        for name, ratio in self.ratios.items():
            if ratio < _KEPT:
                raise CheckFailedError(
                    f"{name}: a frame that was seen just before took {ratio:.2f} of the time of a "
                    "new one: results are kept somewhere, and times of repeated frames mean nothing"
                )

    def to_json(self) -> dict[str, Any]:
        """Return it for a results file."""
        return {"frames": self.frames, "second_over_first": self.ratios}


def see_twice(
    pipeline: Pipeline, frames: Sequence[NDArray[np.uint8]], rounds: int = _ROUNDS
) -> Repeats:
    """Work on new frames twice each, the second time at once.

    Both sights are of the same content, so that nothing but the repetition is between them.

    Args:
        pipeline: what is measured.
        frames: (H, W, 3) or (H, W) uint8; shifted sideways they make frames never seen before.
        rounds: how many new frames.
    """
    first: dict[str, list[float]] = {}
    second: dict[str, list[float]] = {}
    for k in range(rounds):
        pixels = np.roll(frames[k % len(frames)], 7 * k + 3, axis=1)
        for index, sight in enumerate((first, second)):
            frame = Frame(pixels=pixels, index=2 * k + index, captured_ns=time.monotonic_ns())
            for name, spent in _parts(pipeline.run(frame)).items():
                sight.setdefault(name, []).append(spent)
    ratios = {name: min(second[name]) / min(first[name]) for name in first}
    return Repeats(rounds, ratios)


def _parts(result: Result) -> dict[str, float]:
    infer = {name: ms for name, ms in result.timings_ms.items() if name.endswith(" infer")}
    return {"frame": result.age_ms, **infer}
