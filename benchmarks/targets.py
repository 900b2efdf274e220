"""Two targets: preprocessing against bare `cv2.resize`, and the time of postprocessing."""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np

from benchmarks.masks import decoder_of, outputs_with
from benchmarks.page import Section, shown, table
from rille.latency import percentile_interval
from rille.preprocess import Normalize, Preprocessor, Resize, Rgb, Views
from rille.tensor import TensorSpec

PREPROCESS_MOST, POSTPROCESS_MOST_MS = 1.3, 1.0
SIZES, FEATURES, SIDE = (224, 256), 50, 256
_WORDS = """\
Preprocessing is colour, shrinking without aliasing, normalising and quantising to int8, here of a
640 x 480 RGB frame for a network of 224 and one of 256 pixels, halved once for both as in a
pipeline, over one `cv2.resize` (bilinear,
its default) of the same frame to each size; both in turns, {n} rounds, each the median.
Postprocessing is from the stored int8 logits of a 256 x 256 mask with 50 round regions to a mask
and 50 ellipses with scores.
"""


def quantizer(side: int) -> Preprocessor:
    """Return the preprocessing of a square RGB int8 network."""
    spec = TensorSpec(shape=(1, side, side, 3), dtype="int8", scale=1 / 127.5, zero_point=-1)
    return Preprocessor((Rgb(), Resize(width=side, height=side), Normalize()), spec)


def measure(rounds: int) -> Section:
    """Measure both; what the frame shows does not matter here.

    Args:
        rounds: how often each is timed.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    ready, views = [quantizer(side) for side in SIZES], Views()

    def both(seen: Views) -> None:
        for one in ready:
            one(seen)

    decode, (outputs, geometry) = decoder_of(SIDE), outputs_with(FEATURES, SIDE)
    spent = in_turns(
        {
            "preprocess": lambda: both(views.show(pixels)),
            "resize": lambda: [cv2.resize(pixels, (side, side)) for side in SIZES],
            "postprocess": lambda: decode(outputs, geometry),
        },
        rounds,
    )
    medians = {name: float(np.median(times)) for name, times in spent.items()}
    ratio = medians["preprocess"] / medians["resize"]
    bounds = [percentile_interval(np.sort(times), 0.5) for times in spent.values()]
    rows = [
        [name, shown(medians[name]), f"{shown(low)} to {shown(high)}"]
        for name, (low, high) in zip(spent, bounds, strict=True)
    ]
    after = medians["postprocess"]
    kept = "kept" if ratio <= PREPROCESS_MOST else "**missed**"
    kept_after = "kept" if after <= POSTPROCESS_MOST_MS else "**missed**"
    verdict = (
        f"\nPreprocessing over bare resizing: **{ratio:.2f}** (target at most {PREPROCESS_MOST}: "
        f"{kept}). Postprocessing: **{shown(after)} ms** (target {POSTPROCESS_MOST_MS:g} ms: "
        f"{kept_after}).\n"
    )
    return Section(
        title="Targets",
        text=_WORDS.format(n=rounds) + "\n" + table(["part", "p50 ms", "95 %"], rows) + verdict,
        data={"preprocess_over_resize": ratio, "median_ms": medians},
    )


def in_turns(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return name -> milliseconds of single calls, every name once in each round."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(-3, rounds):
        for name, call in calls.items():
            start = time.perf_counter_ns()
            call()
            if turn >= 0:
                spent[name].append((time.perf_counter_ns() - start) / 1e6)
    return spent
