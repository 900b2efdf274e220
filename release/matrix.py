"""`make matrix`: the runtime's tests under each Python that it is for."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from release.environments import PYTHONS, find_python, make, only_installed
from release.tools import ROOT, FailedError

EXTRAS = "signing,onnx,record,video,ccsds"
"""Those whose packages are to be had on every machine."""
_GROUP = "--group=runtime-test"


def try_runtime(name: str, python: Path, *options: str, tests: Sequence[str]) -> str:
    """Run tests of the runtime in an environment of their own, and print what pytest prints.

    Args:
        name: of the environment.
        python: its interpreter.
        options: to `uv pip install`.
        tests: words for pytest.

    Returns:
        A line that says how it ended.

    Raises:
        FailedError: no such set of packages, or a test failed.
    """
    start = time.monotonic()
    inside = make(name, python, ["--editable", f"{ROOT}[{EXTRAS}]", _GROUP], *options)
    words = [str(inside), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=0", *tests]
    done = subprocess.run(
        words, cwd=ROOT, env=only_installed(), stdout=subprocess.PIPE, text=True, check=False
    )
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else "nothing printed"
    if done.returncode != 0:
        raise FailedError(f"{name}: pytest ended with {done.returncode}\n{done.stdout[-6000:]}")
    return f"{last.strip('= ')}, {time.monotonic() - start:.0f} s with set-up"


def main(versions: Sequence[str]) -> int:
    """Try each Python; return 1 if a test failed under one.

    One that cannot be had is reported as skipped, and is not counted as good.
    """
    failed = False
    for version in versions or PYTHONS:
        python = find_python(version)
        if python is None:
            why = f"there is no python{version} here and none could be fetched"
            print(f"python {version}: SKIPPED, because {why}", flush=True)
            continue
        try:
            told = try_runtime(
                version, python, tests=["-m", "not slow", "-n", "2", "tests/runtime"]
            )
            print(f"python {version}: good, {told}", flush=True)
        except FailedError as wrong:
            failed = True
            print(f"python {version}: FAILED, {wrong}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
