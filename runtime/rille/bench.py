"""Closed-loop latency, and the floor it is held against, measured in the same run."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille.board import usable_cores
from rille.budget import Budget
from rille.bundle import Bundle
from rille.frame import Frame
from rille.latency import percentile_interval, summary
from rille.network import Network
from rille.pipeline import Pipeline
from rille.plan import Plan
from rille.result import Result, State
from rille.sim import Descent, build_scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHORT_RUN = 1000
_POOL = 16


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """What a benchmark measured; durations in milliseconds, in the order of the frames.

    Attributes:
        floors: threads for one inference -> resize, set_tensor, invoke and get_tensor of every
            network in a plain loop, one after the other.
        pipeline: capture to publication of the same frames through `Pipeline.run`.
        parts: stage and part -> durations.
        misses: frames beyond the budget.
        plan: how the pipeline's networks shared the cores.
        machine: processor, cores and engine.
        load_before, load_after: one-minute load averages.
    """

    floors: dict[int, list[float]] = field(repr=False)
    pipeline: list[float] = field(repr=False)
    parts: dict[str, list[float]] = field(repr=False)
    misses: int
    plan: Plan
    machine: str
    load_before: float
    load_after: float

    @property
    def floor(self) -> list[float]:
        """The plain loop with as many threads for one inference as the pipeline has."""
        return self.floors[self.plan.threads]

    @property
    def fastest(self) -> int:
        """The number of threads with which the plain loop is fastest, by its median."""
        return min(self.floors, key=lambda threads: float(np.median(self.floors[threads])))

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

    @property
    def p50_interval(self) -> tuple[float, float]:
        """95 % confidence interval of the pipeline's median."""
        return percentile_interval(np.sort(self.pipeline), 0.5)

    @property
    def short(self) -> bool:
        """Whether the run is too short for its tail to mean much."""
        return len(self.pipeline) < SHORT_RUN

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return name -> n, mean and percentiles."""
        floors = {f"floor, {n} thread(s)": times for n, times in self.floors.items()}
        named = {**floors, "pipeline": self.pipeline, **self.parts}
        return {name: summary(values) for name, values in named.items()}

    def to_json(self) -> dict[str, Any]:
        """Return everything but the single durations, for a results file."""
        return {
            "latency_ms": self.rows(),
            "ratio_p50": self.ratio,
            "ratios": self.ratios(),
            "pipeline_p50_interval_95": self.p50_interval,
            "misses": self.misses,
            "threads": self.plan.threads,
            "parallel": self.plan.parallel,
            "short_run": self.short,
            "machine": self.machine,
            "load_before": self.load_before,
            "load_after": self.load_after,
        }


def run_bench(
    *,
    classify: Bundle | None,
    segment: Bundle | None,
    frames: int,
    warmup: int,
    width: int,
    height: int,
    threads: int | None,
    parallel: bool | None,
    frame_ms: float,
) -> BenchResult:
    """Measure pipeline and floors on the same frames, taking turns.

    Args:
        classify, segment: the bundles.
        frames: how many frames count.
        warmup: how many come before.
        width, height: size of the simulated frames in pixels.
        threads: threads for one inference; None for the plan of `rille.plan`.
        parallel: whether both networks run at the same time; None likewise.
        frame_ms: budget; nothing is shed unless it is too small.

    Raises:
        ConfigError: neither bundle is given.
        BundleError, BackendError: see `rille.Pipeline`.
    """
    pool = rendered(width, height)
    load_before = os.getloadavg()[0]
    results: list[Result] = []
    with Pipeline(
        classify=classify,
        segment=segment,
        budget=Budget(frame_ms=frame_ms),
        threads=threads,
        parallel=parallel,
    ) as pipeline:
        floors = _Floors([b for b in (classify, segment) if b is not None], pipeline.plan.threads)
        for index in range(warmup + frames):
            pixels = pool[index % len(pool)]
            # Taking turns in changing order, so that nobody always finds a warm cache.
            floors.run(pixels, index, counts=index >= warmup, half=0)
            frame = Frame(pixels=pixels, index=index, captured_ns=time.monotonic_ns())
            result = pipeline.run(frame)
            floors.run(pixels, index, counts=index >= warmup, half=1)
            if index >= warmup:
                results.append(replace(result, segmentation=None))  # its mask is not needed
        engine = next(iter(pipeline.networks.values())).backend.name
        plan = pipeline.plan
    return BenchResult(
        floors=floors.spent,
        pipeline=[result.age_ms for result in results],
        parts=_parts(results),
        misses=sum(result.state is not State.OK for result in results),
        plan=plan,
        machine=f"{processor()}, {usable_cores()} cores, {engine}, {plan}, "
        f"frames {width} x {height}",
        load_before=load_before,
        load_after=os.getloadavg()[0],
    )


class _Floors:
    """Plain loops over the networks, one for each number of threads.

    Attributes:
        spent: threads -> milliseconds of the calls that count.
    """

    def __init__(self, bundles: list[Bundle], threads: int) -> None:
        counts = {n for n in (1, 2, 4) if n <= usable_cores()} | {threads}
        self.spent: dict[int, list[float]] = {n: [] for n in sorted(counts)}
        self._loops = {
            n: _floor([Network.load(bundle, threads=n) for bundle in bundles]) for n in self.spent
        }

    def run(self, pixels: NDArray[np.uint8], turn: int, *, counts: bool, half: int) -> None:
        """Run those loops whose turn it is in this half of the round."""
        for place, (n, loop) in enumerate(self._loops.items()):
            if (turn + place) % 2 == half:
                spent = loop(pixels)
                if counts:
                    self.spent[n].append(spent)


def _parts(results: list[Result]) -> dict[str, list[float]]:
    parts: dict[str, list[float]] = {}
    for result in results:
        for name, spent in result.timings_ms.items():
            parts.setdefault(name, []).append(spent)
    return parts


def _floor(networks: list[Network]) -> Callable[[NDArray[np.uint8]], float]:
    """Return a plain loop body without any of rille's own work; it returns milliseconds.

    The conversion to grey is left out as well: a one-channel network resizes one channel.
    """
    inputs = [n.variant.input for n in networks]
    buffers = [np.full(spec.shape, 1, spec.numpy_dtype) for spec in inputs]
    sizes = [spec.shape[2:0:-1] for spec in inputs]

    def body(pixels: NDArray[np.uint8]) -> float:
        planes = [pixels if spec.shape[3] == 3 else pixels[:, :, 0].copy() for spec in inputs]
        start = time.perf_counter_ns()
        for network, buffer, size, plane in zip(networks, buffers, sizes, planes, strict=True):
            cv2.resize(plane, size)
            network.backend.infer(buffer)
        return (time.perf_counter_ns() - start) / 1e6

    return body


def rendered(width: int, height: int) -> list[NDArray[np.uint8]]:
    """Return a few frames of a simulated descent as (height, width, 3) RGB."""
    descent = Descent(build_scene(7), 7, width, height, _POOL)
    return [
        cv2.cvtColor(descent.frame(i)[0], cv2.COLOR_GRAY2RGB)  # type: ignore[misc]
        for i in range(_POOL)
    ]


def processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    try:
        with open("/proc/device-tree/model", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            return file.read().strip("\0\n ")
    except OSError:
        pass
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            names = [line.split(":")[1] for line in file if line.startswith("model name")]
        return names[0].strip() if names else platform.machine()
    except OSError:
        return platform.machine()
