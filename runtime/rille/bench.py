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

from rille.budget import Budget
from rille.bundle import Bundle
from rille.frame import Frame
from rille.latency import percentile_interval, summary
from rille.network import Network
from rille.pipeline import Pipeline
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
        floor: resize, set_tensor, invoke and get_tensor of every network in a plain loop.
        pipeline: capture to publication of the same frames through `Pipeline.run`.
        parts: stage and part -> durations.
        misses: frames beyond the budget.
        threads: threads for one inference.
        machine: processor, cores and engine.
        load_before, load_after: one-minute load averages.
    """

    floor: list[float] = field(repr=False)
    pipeline: list[float] = field(repr=False)
    parts: dict[str, list[float]] = field(repr=False)
    misses: int
    threads: int
    machine: str
    load_before: float
    load_after: float

    @property
    def ratio(self) -> float:
        """Median of the pipeline over median of the floor."""
        return float(summary(self.pipeline)["p50"] / summary(self.floor)["p50"])

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
        named = {"floor": self.floor, "pipeline": self.pipeline, **self.parts}
        return {name: summary(values) for name, values in named.items()}

    def to_json(self) -> dict[str, Any]:
        """Return everything but the single durations, for a results file."""
        return {
            "latency_ms": self.rows(),
            "ratio_p50": self.ratio,
            "pipeline_p50_interval_95": self.p50_interval,
            "misses": self.misses,
            "threads": self.threads,
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
    threads: int,
    frame_ms: float,
) -> BenchResult:
    """Measure pipeline and floor on the same frames, taking turns.

    Args:
        classify, segment: the bundles.
        frames: how many frames count.
        warmup: how many come before.
        width, height: size of the simulated frames in pixels.
        threads: threads for one inference.
        frame_ms: budget; nothing is shed unless it is too small.

    Raises:
        ConfigError: neither bundle is given.
        BundleError, BackendError: see `rille.Pipeline`.
    """
    pool = rendered(width, height)
    load_before = os.getloadavg()[0]
    floor: list[float] = []
    results: list[Result] = []
    with Pipeline(
        classify=classify,
        segment=segment,
        budget=Budget(frame_ms=frame_ms),
        threads=threads,
    ) as pipeline:
        plain = _floor(list(pipeline.networks.values()))
        for index in range(warmup + frames):
            pixels = pool[index % len(pool)]
            # Taking turns in alternating order, so that neither always finds a warm cache.
            first = plain(pixels) if index % 2 else 0.0
            frame = Frame(pixels=pixels, index=index, captured_ns=time.monotonic_ns())
            result = pipeline.run(frame)
            second = 0.0 if index % 2 else plain(pixels)
            if index >= warmup:
                floor.append(first + second)
                results.append(replace(result, segmentation=None))  # its mask is not needed
        engine = next(iter(pipeline.networks.values())).backend.name
    return BenchResult(
        floor=floor,
        pipeline=[result.age_ms for result in results],
        parts=_parts(results),
        misses=sum(result.state is not State.OK for result in results),
        threads=threads,
        machine=f"{processor()}, {len(os.sched_getaffinity(0))} cores, {engine}, "
        f"{threads} thread(s), frames {width} x {height}",
        load_before=load_before,
        load_after=os.getloadavg()[0],
    )


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
