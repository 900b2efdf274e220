"""Cold start: from a process that begins to its first result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rille
from rille.errors import BackendError

_TIMEOUT_S = 120.0
_CHILD = """
import json, sys, time
begin = time.perf_counter_ns()
classify, segment, threads, parallel, width, height = json.loads(sys.argv[1])
import rille
import numpy as np
from rille import Budget, Frame, Pipeline, load_bundle
imported = time.perf_counter_ns()
pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
drawn = time.perf_counter_ns()
pipeline = Pipeline(
    classify=load_bundle(classify) if classify else None,
    segment=load_bundle(segment) if segment else None,
    budget=Budget(frame_ms=1e6), threads=threads, parallel=parallel,
)
ready = time.perf_counter_ns()
pipeline.run(Frame(pixels=pixels, index=0, captured_ns=time.monotonic_ns()))
first = time.perf_counter_ns()
names = ("import_ms", "load_ms", "first_frame_ms")
spans = (imported - begin, ready - drawn, first - ready)
print(json.dumps({name: span / 1e6 for name, span in zip(names, spans)}))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ColdStart:
    """One process, in milliseconds.

    Attributes:
        import_ms: `import rille`, NumPy, OpenCV, and the names that are used.
        load_ms: bundles verified, engines built, golden images run.
        first_frame_ms: the first frame.
        process_ms: from the start of the process to its end, the interpreter's own start included.
    """

    import_ms: float
    load_ms: float
    first_frame_ms: float
    process_ms: float

    @property
    def total_ms(self) -> float:
        """From `import rille` to the first result."""
        return self.import_ms + self.load_ms + self.first_frame_ms

    def to_json(self) -> dict[str, Any]:
        """Return it for a results file."""
        return {
            "import_ms": self.import_ms,
            "load_ms": self.load_ms,
            "first_frame_ms": self.first_frame_ms,
            "total_ms": self.total_ms,
            "process_ms": self.process_ms,
        }


def start_cold(
    *, classify: str, segment: str, threads: int, parallel: bool, size: tuple[int, int], times: int
) -> list[ColdStart]:
    """Start fresh processes one after the other, and return what each took.

    The files that they read are in the system's memory from the second on, and mostly for the
    first: this is the start of a program, not of a computer.

    Args:
        classify, segment: names or paths of the bundles; "" for none.
        threads: for one inference.
        parallel: whether both networks run at the same time.
        size: width and height of the frame in pixels.
        times: how many processes.

    Raises:
        BackendError: one of them failed; its last words are told.
    """
    asked = json.dumps([classify, segment, threads, parallel, *size])
    paths: Sequence[str] = [str(Path(rille.__file__).resolve().parents[1]), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    found = []
    for _ in range(times):
        begin = time.perf_counter_ns()
        try:
            done = subprocess.run(
                [sys.executable, "-c", _CHILD, asked],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                env=environment,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BackendError(f"cold start: no result within {_TIMEOUT_S:g} s") from None
        took = (time.perf_counter_ns() - begin) / 1e6
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no words"])[-1]
            raise BackendError(f"cold start: the process ended with {done.returncode}: {last}")
        found.append(ColdStart(process_ms=took, **json.loads(done.stdout)))
    return found
