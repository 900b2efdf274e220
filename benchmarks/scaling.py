"""How latency grows: with the image, threads, features, cameras, and with the rate of frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

import rille
from benchmarks.fit import Line, fitted, plot
from benchmarks.frames import PreRendered
from benchmarks.masks import decoder_of, outputs_with
from benchmarks.page import Section, say, shown, table
from benchmarks.targets import in_turns
from rille.board import usable_cores
from rille.network import Network
from rille.report.svg import Point

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTHS = (320, 480, 640, 960, 1280, 1600)
FEATURES = (1, 10, 25, 50, 100, 200)
CAMERAS = (1, 2, 3, 4)
PRESSURES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
_SIDE = 256
_BUDGET = rille.Budget(frame_ms=60_000.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """How one figure grows with another.

    Attributes:
        key: name of the plot.
        title: heading.
        words: what x and y are.
        measured: name -> points (x, median y); the first is what the model is for.
        model: y of x.
        formula: the model with its coefficients, in words.
        figures: coefficients by name.
    """

    key: str
    title: str
    words: tuple[str, str]
    measured: dict[str, Sequence[Point]]
    model: Callable[[float], float]
    formula: str
    figures: dict[str, float]


def measure(
    classify: str, segment: str, pool: NDArray[np.uint8], rounds: int, seconds: float
) -> Section:
    """Measure all of it.

    Args:
        classify, segment: bundles.
        pool: (n, 480, 640, 3) RGB uint8.
        rounds: how often each point is timed.
        seconds: how long each camera runs.
    """
    found = []
    parts: dict[str, Callable[[], Growth]] = {
        "image size": lambda: image_size(segment, pool[0], rounds),
        "threads": lambda: threads(segment, pool[0], rounds),
        "features": lambda: features(rounds),
        "cameras": lambda: cameras(classify, pool, seconds),
        "queue pressure": lambda: pressure(segment, pool, seconds),
    }
    for name, one in parts.items():
        say(f"scaling: {name}")
        found.append(one())
    return Section(
        title="How it grows",
        text="Medians of calls in turns; the dashed line is the model below each plot, fitted to "
        "the first series by least squares, with standard errors.\n" + "".join(map(_shown, found)),
        data={one.key: {"points": one.measured, "model": one.figures} for one in found},
        plots={f"{o.key}.svg": plot(o.words, o.measured, o.model, "model") for o in found},
    )


def _shown(growth: Growth) -> str:
    rows = [
        [name, *(f"{x:g}: {shown(y)}" for x, y in points)]
        for name, points in growth.measured.items()
    ]
    longest = max(len(row) for row in rows)
    head = [f"{growth.words[1]} at {growth.words[0]}", *[""] * (longest - 1)]
    lines = table(head, [row + [""] * (longest - len(row)) for row in rows])
    plotted = f"![{growth.title}](plots/{growth.key}.svg)"
    return f"\n### {growth.title}\n\n{plotted}\n\n{lines}\nModel: {growth.formula}\n"


def _said(line: Line, unit: str) -> str:
    error, slope = line.start_error, line.slope_error
    return (
        f"{line.start:.3g} (± {error:.1g}) ms + {line.slope:.3g} (± {slope:.1g}) ms {unit}; "
        f"R² {line.explained:.3f}."
    )


def _coefficients(line: Line) -> dict[str, float]:
    return {"start_ms": line.start, "slope_ms": line.slope, "explained": line.explained}


def image_size(segment: str, pixels: NDArray[np.uint8], rounds: int) -> Growth:
    """Preprocessing, and a whole frame, over the frame's megapixels (4:3)."""
    bundle = rille.load_bundle(segment)
    with rille.Pipeline(segment=bundle, budget=_BUDGET) as pipeline:
        network = next(iter(pipeline.networks.values()))
        pictures = {width * width * 0.75e-6: _at_width(pixels, width) for width in WIDTHS}
        calls: dict[str, Callable[[], object]] = {}
        for size, picture in pictures.items():
            calls[f"pre {size}"] = partial(network.preprocessor, picture)
            calls[f"all {size}"] = partial(_one_frame, pipeline, picture)
        spent = in_turns(calls, rounds)
    whole = [(size, float(np.median(spent[f"all {size}"]))) for size in pictures]
    before = [(size, float(np.median(spent[f"pre {size}"]))) for size in pictures]
    line = fitted(whole)
    return Growth(
        key="image-size",
        title="Image size",
        words=("megapixels of the frame", "milliseconds"),
        measured={f"{bundle.name}, whole frame": whole, "its preprocessing": before},
        model=line,
        formula=f"whole frame = {_said(line, 'a megapixel')} The network's own size stays the "
        "same, so only what looks at the frame grows.",
        figures=_coefficients(line),
    )


def _at_width(pixels: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(pixels, (width, width * 3 // 4)), np.uint8)


def _one_frame(pipeline: rille.Pipeline, pixels: NDArray[np.uint8]) -> object:
    frame = rille.Frame(pixels=pixels, index=0, captured_ns=time.monotonic_ns())
    return pipeline.run(frame)


def threads(segment: str, pixels: NDArray[np.uint8], rounds: int) -> Growth:
    """Inference over threads, up to twice the cores."""
    bundle, cores = rille.load_bundle(segment), usable_cores()
    counts = [n for n in (1, 2, 3, 4, 6, 8) if n <= max(2, 2 * cores)]
    networks = {n: Network.load(bundle, threads=n) for n in counts}
    tensor, _ = networks[1].preprocessor(pixels)
    spent = in_turns(
        {str(n): partial(one.backend.infer, tensor) for n, one in networks.items()}, rounds
    )
    for one in networks.values():
        one.close()
    points = [(float(n), float(np.median(spent[str(n)]))) for n in counts]
    inside = [(1 / n, ms) for n, ms in points if n <= max(2, cores)]
    line = fitted(inside)
    exact = " Two points leave no rest to judge it by." * (len(inside) == 2)
    return Growth(
        key="threads",
        title="Threads",
        words=("threads for one inference", "milliseconds"),
        measured={f"{bundle.name}, inference": points},
        model=lambda n: line(1 / n),
        formula=f"inference = {line.start:.3g} ms + {line.slope:.3g} ms / threads (Amdahl), from "
        f"the points up to {max(2, cores)} threads, the cores here being {cores}.{exact}",
        figures={"serial_ms": line.start, "parallel_ms": line.slope, "cores": cores},
    )


def features(rounds: int) -> Growth:
    """Postprocessing of a 256 x 256 int8 mask over the features in it."""
    decode = decoder_of(_SIDE)
    masks = {count: outputs_with(count, _SIDE) for count in FEATURES}
    spent = in_turns({str(n): partial(decode, *made) for n, made in masks.items()}, rounds)
    points = [(float(n), float(np.median(spent[str(n)]))) for n in FEATURES]
    line = fitted(points)
    return Growth(
        key="features",
        title="Features in the mask",
        words=("features in a 256 x 256 mask", "milliseconds"),
        measured={"postprocessing": points},
        model=line,
        formula=f"postprocessing = {_said(line, 'a feature')}",
        figures=_coefficients(line),
    )


def cameras(classify: str, pool: NDArray[np.uint8], seconds: float) -> Growth:
    """Age of answers over the cameras of one `rille.Fleet`, each as fast as one alone is served."""
    bundle = rille.load_bundle(classify)
    fps = 0.8 / _service_s(rille.Pipeline(classify=bundle, budget=_BUDGET, threads=1), pool)
    ages, gaps = [], []
    for count in CAMERAS:
        pipelines = {
            f"camera {k}": rille.Pipeline(classify=bundle, budget=_BUDGET, threads=1)
            for k in range(count)
        }
        frames = max(10, round(fps * seconds))
        sources = {name: PreRendered(pool, frames, fps) for name in pipelines}
        began = time.monotonic_ns()
        with rille.Fleet(pipelines) as fleet:
            said = [one.age_ms for _, one in fleet.stream(sources)]
        lasted_ms = (time.monotonic_ns() - began) / 1e6
        ages.append((float(count), float(np.median(said))))
        gaps.append((float(count), lasted_ms * count / len(said)))
    line = fitted(ages)
    return Growth(
        key="cameras",
        title="Cameras in one process",
        words=("cameras", "milliseconds"),
        measured={"age of an answer, p50": ages, "between two answers of one camera": gaps},
        model=line,
        formula=f"age = {_said(line, 'a camera')} Each offers {fps:.0f} frames/s, 80 % of what one "
        "alone can have: from two on they wait for each other, and frames in between are dropped "
        "and accounted for.",
        figures=_coefficients(line) | {"fps": fps},
    )


def pressure(segment: str, pool: NDArray[np.uint8], seconds: float) -> Growth:
    """Age and losses over offered rate / served rate.

    With the newest frame alone waiting, the age of an answer is the service time t, and above the
    rate that can be served, besides, the half of a camera's period that a waiting frame is old on
    average: t + t / (2 x pressure).
    """
    pipeline = rille.Pipeline(segment=rille.load_bundle(segment), budget=_BUDGET)
    with pipeline:
        service_s = _service_s(pipeline, pool, close=False)
        ages, lost = [], []
        for load in PRESSURES:
            fps = load / service_s
            count = max(12, round(fps * seconds))
            results = list(pipeline.stream(PreRendered(pool, count, fps), losses=True))
            said = [one.age_ms for one in results if one.published]
            ages.append((load, float(np.median(said))))
            lost.append((load, 100.0 * (len(results) - len(said)) / len(results)))
    shape = [(1 + (0.5 / load if load > 1 else 0.0), age) for load, age in ages]
    once = float(np.dot(*np.transpose(shape)) / np.square([s for s, _ in shape]).sum())
    shares = ", ".join(f"{p:.0f} % at {load:g}" for load, p in lost)
    ideal = ", ".join(f"{max(0.0, 100 - 100 / load):.0f} % at {load:g}" for load in PRESSURES)
    return Growth(
        key="pressure",
        title="Queue pressure",
        words=("offered rate / rate that can be served", "milliseconds"),
        measured={"age of an answer, p50": ages},
        model=lambda load: once * (1 + (0.5 / load if load > 1 else 0.0)),
        formula=f"age = t below 1, t (1 + 1 / (2 x pressure)) above, with t = {once:.3g} ms (alone "
        f"it took {1000 * service_s:.3g} ms). It does not grow without bound, because only the "
        f"newest frame waits. Dropped, every one of them reported: {shares}; a perfect server "
        f"would drop {ideal}.",
        figures={"service_ms": once},
    )


def _service_s(
    pipeline: rille.Pipeline, pool: NDArray[np.uint8], *, close: bool = True, frames: int = 40
) -> float:
    """Return the median seconds between two answers of a pipeline that is never idle."""
    stamps = [one.published_ns for one in pipeline.stream(PreRendered(pool, frames, None))]
    if close:
        pipeline.close()
    return float(np.median(np.diff(stamps))) / 1e9
