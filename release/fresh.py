"""A fresh environment with the wheel and nothing else: what a user's first minute looks like."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path

from release.environments import installed, make, only_installed
from release.tools import FailedError, checked

_DRIVE = "sim://moon?view=rover&seed=7&size=320x240&frames=5&realtime=0"
_STRANGERS = ("tensorflow", "keras", "torch", "jax", "onnx", "pytest")


def try_wheel(wheel: Path) -> Path:
    """Install a wheel into an environment of its own, ask the doctor and run some frames.

    Returns:
        The interpreter of the environment.

    Raises:
        FailedError: it brought a training framework along, said no-go, or lost a frame.
    """
    python = make("fresh", Path(sys.executable), [str(wheel)])
    packages = {re.split(r"==| @ ", line)[0] for line in installed(python)}
    strangers = sorted(packages & set(_STRANGERS))
    if strangers:
        raise FailedError(f"the runtime alone brought {', '.join(strangers)} along")
    command = str(python.with_name("rille"))
    with tempfile.TemporaryDirectory() as nowhere:
        environment = only_installed() | {"XDG_CACHE_HOME": nowhere}
        words = checked([command, "doctor"], folder=Path(nowhere), environment=environment)
        if words.splitlines()[-1] != "GO":
            raise FailedError(f"rille doctor did not end with GO:\n{words}")
        run = [command, "run", "--source", _DRIVE, "--out", "run", "--budget-ms", "60000"]
        checked(run, folder=Path(nowhere), environment=environment)
        told = json.loads((Path(nowhere) / "run" / "summary.json").read_text(encoding="utf-8"))
        if told["account"]["ok"] != 5:
            raise FailedError(f"rille run worked on these of 5 frames: {told['account']}")
        for name in ("annotated.mp4", "report.html"):
            if not (Path(nowhere) / "run" / name).stat().st_size:
                raise FailedError(f"rille run wrote no {name}")
    return python
