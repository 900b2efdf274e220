"""LiteRT's own benchmark tool: the engine alone on a ready input, the floor for everybody.

It loads no frame, prepares nothing, decodes nothing, and gives percentiles but no single times.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.peer import PeerRefusedError

_LIMIT_S = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolFigures:
    """What one run of the tool says, in milliseconds."""

    median_ms: float
    p95_ms: float
    runs: int


def run_tool(model: Path, *, threads: int, runs: int) -> ToolFigures:
    """Run `litert-benchmark` on a TFLite file.

    Raises:
        PeerRefusedError: it is not there, failed, or wrote something else than it used to.
    """
    report = model.with_suffix(".json")
    report.unlink(missing_ok=True)
    module = "ai_edge_litert.tools.benchmark_litert_model"
    options = {"model": model, "num_runs": runs, "num_threads": threads, "result_json": report}
    command = [sys.executable, "-m", module]
    command += [f"--{key}={value}" for key, value in options.items()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise PeerRefusedError(f"no answer within {_LIMIT_S:g} s") from None
    if done.returncode or not report.is_file():
        raise PeerRefusedError((done.stderr.strip().splitlines() or ["no words"])[-1][:300])
    return read_figures(report.read_text())


def read_figures(text: str) -> ToolFigures:
    """Read the tool's JSON.

    Raises:
        PeerRefusedError: it does not hold what it used to.
    """
    try:
        latency = json.loads(text)["latency"]
        return ToolFigures(
            median_ms=float(latency["median_ms"]),
            p95_ms=float(latency["p95_ms"]),
            runs=int(latency["num_runs"]),
        )
    except (ValueError, KeyError, TypeError) as wrong:
        raise PeerRefusedError(
            f"its report cannot be read ({type(wrong).__name__}: {wrong})"
        ) from None
