"""`rille bench --predict`: what frames will take here, from three measurements."""

from __future__ import annotations

import json

from rille.bench import rendered
from rille.bench.cost_model import CostModel, Predicted
from rille.bench.predict import MEASURED, Trial, model_table, trial_table, try_model
from rille.bench.words import aligned
from rille.budget import Budget
from rille.bundle import load_bundle
from rille.cli.bench_options import BenchOptions
from rille.files import write_whole
from rille.pipeline import Pipeline

_FRAMES_A_ROUND = 100
_BUDGET_MS = 1e6


def predict(options: BenchOptions) -> int:
    """Fit the model, try it, and print what it says of the size, rate and features asked for."""
    with Pipeline(
        classify=load_bundle(options.classify) if options.classify else None,
        segment=load_bundle(options.segment) if options.segment else None,
        budget=Budget(frame_ms=_BUDGET_MS),
        threads=options.threads,
        parallel=options.parallel,
    ) as pipeline:
        frames = rendered(*MEASURED[1])
        rounds = max(1, options.frames // _FRAMES_A_ROUND)
        model, usual, trials = try_model(pipeline, frames, rounds)
        how = str(pipeline.plan)
    features = usual if options.features is None else float(options.features)
    width, height = options.size
    found = model.predict(width * height / 1e6, features, options.fps)
    for table in (model_table(model), trial_table(trials)):
        print("\n".join(aligned(table)), end="\n\n")
    pace = "one after the other" if options.fps is None else f"{options.fps:g} frames a second"
    print(
        f"predicted for {width} x {height}, {features:.0f} features, {pace}; networks {how}: age "
        f"p50 {found.p50_ms:.1f} ms, p95 {found.p95_ms:.1f} ms, "
        f"{100 * found.superseded:.0f} % superseded"
    )
    print(_trust(trials))
    if options.json is not None:
        record = _record(model, trials, found, options, features)
        write_whole(options.json, json.dumps(record, indent=1) + "\n")
    return 0


def _trust(trials: list[Trial]) -> str:
    p50, p95 = (max(abs(trial.errors[k]) for trial in trials) for k in (0, 1))
    return (
        f"on {len(trials)} settings that it had not seen, the model was off by up to "
        f"{100 * p50:.0f} % (p50) and {100 * p95:.0f} % (p95)"
    )


def _record(
    model: CostModel,
    trials: list[Trial],
    found: Predicted,
    options: BenchOptions,
    features: float,
) -> dict[str, object]:
    return {
        "model": model.to_json(),
        "held_out": [trial.to_json() for trial in trials],
        "predicted": {
            "size": list(options.size),
            "features": features,
            "fps": options.fps,
            "p50_ms": found.p50_ms,
            "p95_ms": found.p95_ms,
            "superseded": found.superseded,
        },
    }
