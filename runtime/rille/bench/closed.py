"""Closed loop: the next frame as soon as the last is done, taking turns with the floor."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.bench.answers import Answers
from rille.bench.floor import Floors
from rille.frame import Frame
from rille.latency import intervals, percentile_interval, summary
from rille.plan import Plan
from rille.result import Result, State

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.bench.blocks import StageBlocks
    from rille.pipeline import Pipeline

ROW = 20
"""Frames that each program works on before the next one's turn: frame by frame, each would find the
caches full of what the others left there, which does not happen in flight."""
SHORT_FRAMES, SHORT_S = 1000, 600.0
"""A run with fewer frames, or shorter, is labelled "short run": its tail means little."""


@dataclass(frozen=True, kw_only=True)
class ClosedResult:
    """What was measured; durations in milliseconds, in the order of the frames.

    Attributes:
        floors: threads for one inference -> resize, set_tensor, invoke and get_tensor of every
            network in a plain loop, one after the other.
        pipeline: capture to publication of the same frames through `Pipeline.run`.
        turns: capture to when the next frame could be begun.
        parts: stage and part -> durations.
        misses: frames beyond the budget.
        shed: frames for which a stage was left out.
        plan: how the pipeline's networks shared the cores.
        seconds: how long it took, floors included.
    """

    floors: dict[int, list[float]] = field(repr=False)
    pipeline: list[float] = field(repr=False)
    turns: list[float] = field(repr=False)
    parts: dict[str, list[float]] = field(repr=False)
    misses: int
    shed: int
    plan: Plan
    seconds: float

    @property
    def floor(self) -> list[float]:
        """The plain loop with as many threads for one inference as the pipeline has."""
        return self.floors[self.plan.threads]

    @property
    def fastest(self) -> int:
        """The number of threads with which the plain loop is fastest, by its median."""
        return min(self.floors, key=lambda threads: float(summary(self.floors[threads])["p50"]))

    @property
    def ratio(self) -> float:
        """Median of the pipeline over median of the floor."""
        return self._ratio("p50", self.floor)

    def _ratio(self, share: str, floor: list[float]) -> float:
        return float(summary(self.pipeline)[share] / summary(floor)[share])

    def ratios(self) -> dict[str, float]:
        """Return what is compared -> pipeline over floor."""
        best = self.floors[self.fastest]
        found = {
            "p50, same threads": self.ratio,
            f"p50, fastest plain loop ({self.fastest})": self._ratio("p50", best),
        }
        if len(self.pipeline) >= 100:
            found["p99, same threads"] = self._ratio("p99", self.floor)
        return found

    def rates(self) -> dict[str, float]:
        """Return what was measured -> frames a second, one as soon as the last is done."""
        spent = {"pipeline": self.turns, "fastest plain loop": self.floors[self.fastest]}
        return {name: 1000 * len(times) / sum(times) for name, times in spent.items()}

    @property
    def p50_interval(self) -> tuple[float, float]:
        """95 % confidence interval of the pipeline's median."""
        return percentile_interval(np.sort(self.pipeline), 0.5)

    @property
    def short(self) -> bool:
        """Whether the run is too short for its tail to mean much."""
        return len(self.pipeline) < SHORT_FRAMES or self.seconds < SHORT_S

    @property
    def series(self) -> dict[str, list[float]]:
        """What was measured by name: floors, the pipeline, its parts."""
        floors = {f"floor, {n} thread(s)": times for n, times in self.floors.items()}
        return {**floors, "pipeline": self.pipeline, **self.parts}

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return name -> n, mean and percentiles."""
        return {name: summary(values) for name, values in self.series.items()}

    def to_json(self) -> dict[str, Any]:
        """Return everything but the single durations, for a results file."""
        return {
            "latency_ms": self.rows(),
            "intervals_95_ms": {name: intervals(values) for name, values in self.series.items()},
            "ratio_p50": self.ratio,
            "ratios": self.ratios(),
            "frames_per_s": self.rates(),
            "pipeline_p50_interval_95": self.p50_interval,
            "misses": self.misses,
            "shed": self.shed,
            "threads": self.plan.threads,
            "parallel": self.plan.parallel,
            "seconds": self.seconds,
            "short_run": self.short,
        }


def run_closed(
    pipeline: Pipeline,
    floors: Floors,
    blocks: StageBlocks,
    pool: Sequence[NDArray[np.uint8]],
    *,
    frames: int,
    warmup: int,
    least_blocks: int,
    answers: Answers,
) -> ClosedResult:
    """Measure pipeline and floors on the same frames, with blocks of single parts in between.

    They take turns, `ROW` frames at a time, and another one begins each time.

    Args:
        pipeline: what is measured.
        floors: plain loops over the same networks.
        blocks: measured after every `frames / least_blocks` frames.
        pool: (H, W, 3) or (H, W) uint8, taken in turn.
        frames: how many count.
        warmup: how many come before.
        least_blocks: how many blocks, at least 1.
        answers: notes the answers.
    """
    seen = _Seen(pipeline, pool, answers)
    threads = list(floors.spent)
    programs: list[Callable[[range], None]] = [
        *(lambda row, n=n: floors.row((pool[k % len(pool)] for k in row), n) for n in threads),
        seen.row,
    ]
    floors.begin()
    for index in range(warmup):
        for n in threads:
            floors.once(pool[index % len(pool)], n)
        seen.frame(index)
    blocks.block(counts=False)
    began_ns = time.monotonic_ns()
    for turn, first in enumerate(range(0, frames, ROW)):
        while blocks.count < first * least_blocks // frames:
            blocks.block()
        row = range(first, min(first + ROW, frames))
        begin = turn % len(programs)
        for program in (*programs[begin:], *programs[:begin]):
            program(row)
    while blocks.count < least_blocks:
        blocks.block()
    return ClosedResult(
        floors=floors.spent,
        pipeline=seen.ages,
        turns=seen.turns,
        parts=seen.parts,
        misses=seen.misses,
        shed=seen.shed,
        plan=pipeline.plan,
        seconds=(time.monotonic_ns() - began_ns) / 1e9,
    )


class _Seen:
    """What was seen of the pipeline.

    Attributes:
        ages, turns, parts: milliseconds.
        misses, shed: frames.
    """

    def __init__(
        self, pipeline: Pipeline, pool: Sequence[NDArray[np.uint8]], answers: Answers
    ) -> None:
        self.ages: list[float] = []
        self.turns: list[float] = []
        self.parts: dict[str, list[float]] = {}
        self.misses = self.shed = 0
        self._pipeline, self._pool, self._answers = pipeline, pool, answers

    def frame(self, index: int) -> Result:
        """Work on one frame."""
        pixels = self._pool[index % len(self._pool)]
        return self._pipeline.run(
            Frame(pixels=pixels, index=index, captured_ns=time.monotonic_ns())
        )

    def row(self, row: range) -> None:
        """Work on frames in a row, and keep what comes of each."""
        for k in row:
            begin_ns = time.perf_counter_ns()
            result = self.frame(k)
            self.turns.append((time.perf_counter_ns() - begin_ns) / 1e6)
            self._answers.note(k % len(self._pool), result)
            self.ages.append(result.age_ms)
            add_parts(self.parts, result)
            self.misses += result.state is not State.OK
            self.shed += bool(result.shed)


def add_parts(parts: dict[str, list[float]], result: Result) -> None:
    """Add a result's durations in milliseconds to those of its stages and parts."""
    for name, spent in result.timings_ms.items():
        parts.setdefault(name, []).append(spent)
