"""Does the same frame once more cost as much as the first time? If not, results are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.errors import CheckFailedError
from rille.frame import Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.pipeline import Pipeline

_ROUNDS = 12
_KEPT = 0.5
"""Ratio below which a second sight is not the same work: caches of a processor save far less."""
Look = Callable[["NDArray[np.uint8]"], object]


@dataclass(frozen=True, slots=True)
class Repeats:
    """The second sight of frames beside their first one.

    Attributes:
        frames: frames, none of which was seen before.
        ratios: "frame" and each stage -> CPU time of the fastest second sight over that of the
            fastest first one.
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
    """Let the whole pipeline, and each network alone, work on new frames twice in a row.

    Both sights are of the same content, so that nothing but the repetition is between them.

    Args:
        pipeline: its networks one after the other, one thread each, with a budget that all fits:
            only the calling thread's time on a processor counts.
        frames: (H, W, 3) or (H, W) uint8; shifted sideways they make frames never seen before.
        rounds: how many new frames each of them sees.
    """
    looks: dict[str, Look] = {"frame": lambda pixels: _run(pipeline, pixels)}
    looks |= {name: network.run for name, network in pipeline.networks.items()}
    best = {name: [np.inf, np.inf] for name in looks}
    shift = 0
    for k in range(rounds):
        for name, look in looks.items():
            shift += 3
            pixels = np.roll(frames[k % len(frames)], shift, axis=1)
            for sight in (0, 1):
                best[name][sight] = min(best[name][sight], _cpu_ns(look, pixels))
    return Repeats(rounds * len(looks), {n: second / first for n, (first, second) in best.items()})


def _run(pipeline: Pipeline, pixels: NDArray[np.uint8]) -> object:
    return pipeline.run(Frame(pixels=pixels, index=0, captured_ns=time.monotonic_ns()))


def _cpu_ns(look: Look, pixels: NDArray[np.uint8]) -> float:
    start = time.thread_time_ns()
    look(pixels)
    return float(time.thread_time_ns() - start)
