"""The runtime alone: what it imports, how fast, and what it shows of itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import rille

ROOT = Path(__file__).resolve().parents[2]
FRAMEWORKS = ("tensorflow", "keras", "onnx", "matplotlib", "jax", "torch", "rille_train")


def child(code: str) -> str:
    """Run code in a fresh interpreter that sees the source tree."""
    path = os.pathsep.join(str(ROOT / folder) for folder in ("runtime", "train", "export"))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_frame_runs_without_any_training_framework() -> None:
    code = f"""
import sys, rille
from rille.frame import Frame
pipeline = rille.Pipeline(classify=rille.load_bundle("mars-msl24"),
                          segment=rille.load_bundle("moon-craters"))
with rille.open_source("sim://moon?frames=1&realtime=0") as camera, pipeline:
    (result,) = pipeline.stream(camera)
assert result.classification is not None or result.shed
print([name for name in {FRAMEWORKS!r} if name in sys.modules])
"""
    assert child(code).strip().splitlines()[-1] == "[]"


def test_importing_rille_is_quick() -> None:
    code = """
import time
import numpy
start = time.perf_counter()
import rille
print(time.perf_counter() - start)
"""
    child(code)  # once to fill the caches
    # 0.5 s is the promise on an idle machine, NumPy included; a loaded one gets some room.
    assert min(float(child(code)) for _ in range(3)) < 0.6


def test_the_public_names() -> None:
    assert sorted(rille.__all__) == rille.__all__
    assert len(rille.__all__) <= 26
    for name in rille.__all__:
        assert getattr(rille, name) is not None


def test_the_example_of_the_docstring_runs() -> None:
    """The lines a newcomer copies first, with a shorter stream."""
    doc = rille.__doc__ or ""
    lines = [line[4:] for line in doc.splitlines() if line.startswith("    ")]
    code = "\n".join(lines).replace("fps=10", "fps=50&frames=3&size=320x240")
    shown = child(code)
    assert "3 captured" in shown
