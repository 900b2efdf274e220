"""Does the same frame once more cost as much as the first time? If not, results are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.bench.blocks import CLOCKS
from rille.errors import CheckFailedError
from rille.frame import Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.pipeline import Pipeline

_ROUNDS = 12
_KEPT = 0.5
"""Ratio below which a second sight is not the same work: caches of a processor save far less."""
Look = Callable[["NDArray[np.uint8]"], object]
_Spent = dict[str, float]
"""Clock -> ns."""
_Sights = tuple[list[_Spent], list[_Spent]]
"""Times of first and of second sights, one of each a round."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """The second sight of frames beside their first one.

    Attributes:
        frames: frames, none of which was seen before.
        ratios: "frame" and each stage -> median time of a second sight over that of a first one,
            by the clock that makes less of the repetition: the thread's time on a processor or
            wall time. A kept result saves both. Alone, wall time counts what else the machine did,
            and a virtual machine's processor time loses what its host takes, at times far more
            than was taken from the thread.
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
            of processors' time only the calling thread's counts.
        frames: (H, W, 3) or (H, W) uint8; shifted sideways they make frames never seen before.
        rounds: how many new frames each of them sees.
    """
    looks: dict[str, Look] = {"frame": lambda pixels: _run(pipeline, pixels)}
    looks |= {name: network.run for name, network in pipeline.networks.items()}
    spent: dict[str, _Sights] = {name: ([], []) for name in looks}
    shift = 0
    for k in range(rounds):
        for name, look in looks.items():
            shift += 3
            pixels = np.roll(frames[k % len(frames)], shift, axis=1)
            for times in spent[name]:
                times.append(_spent_ns(look, pixels))
    ratios = {name: _second_over_first(*sights) for name, sights in spent.items()}
    return Repeats(rounds * len(looks), ratios)


def _second_over_first(first: list[_Spent], second: list[_Spent]) -> float:
    new, again = ({c: median(s[c] for s in times) for c in CLOCKS} for times in (first, second))
    return max(again[clock] / new[clock] for clock in CLOCKS if new[clock] > 0)


def _run(pipeline: Pipeline, pixels: NDArray[np.uint8]) -> object:
    return pipeline.run(Frame(pixels=pixels, index=0, captured_ns=time.monotonic_ns()))


def _spent_ns(look: Look, pixels: NDArray[np.uint8]) -> _Spent:
    start = {name: clock() for name, clock in CLOCKS.items()}
    look(pixels)
    return {name: float(clock() - start[name]) for name, clock in CLOCKS.items()}
