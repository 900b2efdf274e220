"""Three measurements, a cost model, and how wrong it was about settings that it had not seen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille.bench.answers import Answers
from rille.bench.arrivals import run_open
from rille.bench.cost_model import CostModel, Predicted, Sample, fit
from rille.bench.tables import Table, number
from rille.frame import Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.pipeline import Pipeline

MEASURED = ((320, 240), (640, 480), (1280, 960))
HELD_OUT = ((480, 360), (960, 720))
"""Width and height in pixels: what the model is fitted to, and what it is tried on."""
_RATES = (0.6, 1.5)
"""Of the rate that can just be served: the open loops that the model is tried on."""
_OPEN_FRAMES = 40
"""In a round of measurements."""
_BLOCK, _WARM = 12, 3
Size = tuple[int, int]
Pool = dict[Size, list["NDArray[np.uint8]"]]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One setting that the model had not seen.

    Attributes:
        words: which.
        predicted: by the model.
        p50_ms, p95_ms, superseded: as measured.
    """

    words: str
    predicted: Predicted
    p50_ms: float
    p95_ms: float
    superseded: float = 0.0

    @property
    def errors(self) -> tuple[float, float]:
        """By what share the predicted p50 and p95 are too high."""
        return self.predicted.p50_ms / self.p50_ms - 1, self.predicted.p95_ms / self.p95_ms - 1

    def to_json(self) -> dict[str, Any]:
        """Return it for a results file."""
        return {
            "setting": self.words,
            "predicted": {"p50_ms": self.predicted.p50_ms, "p95_ms": self.predicted.p95_ms},
            "measured": {"p50_ms": self.p50_ms, "p95_ms": self.p95_ms},
            "superseded": [self.predicted.superseded, self.superseded],
            "errors": list(self.errors),
        }


def try_model(
    pipeline: Pipeline, frames: Sequence[NDArray[np.uint8]], rounds: int
) -> tuple[CostModel, float, list[Trial]]:
    """Measure three sizes, fit the model, and try it on other sizes and at two rates.

    All sizes take turns, a few frames each, so that a busy minute does not fall on one alone.

    Args:
        pipeline: warm.
        frames: (H, W, 3) or (H, W) uint8; scaled to each size.
        rounds: how often each size has its turn, at least 1.

    Returns:
        The model, the usual number of features at the middle size, and how the model did.
    """
    pools: Pool = {size: _scaled(frames, size) for size in (*MEASURED, *HELD_OUT)}
    samples: dict[Size, list[Sample]] = {size: [] for size in pools}
    for turn in range(rounds):
        for size, pool in pools.items():
            samples[size] += _block(pipeline, pool, turn)
    model = fit([s for size in MEASURED for s in samples[size]], pipeline.plan.parallel)
    trials = [_trial(model, size, samples[size]) for size in HELD_OUT]
    count = _OPEN_FRAMES * rounds
    for rate in _RATES:
        trials.append(_paced(pipeline, model, pools[MEASURED[1]], samples, rate, count))
    return model, _usual(samples[MEASURED[1]]), trials


def _scaled(frames: Sequence[NDArray[np.uint8]], size: Size) -> list[NDArray[np.uint8]]:
    return [np.asarray(cv2.resize(pixels, size), np.uint8) for pixels in frames]


def _block(pipeline: Pipeline, pool: Sequence[NDArray[np.uint8]], turn: int) -> list[Sample]:
    """Measure a few frames of one size; the first ones find buffers of another and do not count."""
    found = []
    for k in range(_WARM + _BLOCK):
        pixels = pool[(turn * _BLOCK + k) % len(pool)]
        frame = Frame(pixels=pixels, index=k, captured_ns=time.monotonic_ns())
        result = pipeline.run(frame)
        if k >= _WARM and result.published and not result.shed:
            found.append(
                Sample(
                    megapixels=frame.width * frame.height / 1e6,
                    features=len(result.features),
                    parts_ms=dict(result.timings_ms),
                    age_ms=result.age_ms,
                )
            )
    return found


def _trial(model: CostModel, size: Size, samples: Sequence[Sample]) -> Trial:
    ages = [sample.age_ms for sample in samples]
    features = _usual(samples)
    return Trial(
        words=f"{size[0]} x {size[1]}, {features:.0f} features, one after the other",
        predicted=model.predict(size[0] * size[1] / 1e6, features),
        p50_ms=float(np.quantile(ages, 0.5)),
        p95_ms=float(np.quantile(ages, 0.95)),
    )


def _paced(
    pipeline: Pipeline,
    model: CostModel,
    pool: Sequence[NDArray[np.uint8]],
    samples: dict[Size, list[Sample]],
    rate: float,
    count: int,
) -> Trial:
    width, height = MEASURED[1]
    features, megapixels = _usual(samples[MEASURED[1]]), width * height / 1e6
    fps = rate * 1000.0 / model.predict(megapixels, features).p50_ms
    found = run_open(pipeline, pool, fps=fps, count=count, answers=Answers())
    lost = found.totals.causes.get("superseded", 0) / count
    return Trial(
        words=f"{width} x {height}, {features:.0f} features, {fps:.1f} frames a second",
        predicted=model.predict(megapixels, features, fps),
        p50_ms=float(np.quantile(found.ages, 0.5)),
        p95_ms=float(np.quantile(found.ages, 0.95)),
        superseded=lost,
    )


def _usual(samples: Sequence[Sample]) -> float:
    return float(np.median([sample.features for sample in samples]))


def trial_table(trials: Sequence[Trial]) -> Table:
    """Return what was predicted and what came."""
    head = ["not seen by the model", "p50", "predicted", "error", "p95", "predicted", "error"]
    table = [[*head, "superseded", "predicted"]]
    for trial in trials:
        p50, p95 = trial.errors
        table.append(
            [
                trial.words,
                number(trial.p50_ms),
                number(trial.predicted.p50_ms),
                f"{100 * p50:+.1f} %",
                number(trial.p95_ms),
                number(trial.predicted.p95_ms),
                f"{100 * p95:+.1f} %",
                f"{100 * trial.superseded:.0f} %",
                f"{100 * trial.predicted.superseded:.0f} %",
            ]
        )
    return table


def model_table(model: CostModel) -> Table:
    """Return the model's lines."""
    table = [["milliseconds", "fixed", "each", "of"]]
    for name, entry in model.to_json()["lines"].items():
        each = number(entry["each_ms"], 4) if entry["over"] else ""
        table.append([name, number(entry["fixed_ms"], 3), each, entry["over"].rstrip("s")])
    return table
