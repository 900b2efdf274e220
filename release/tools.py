"""Running the programs that a release is made and tried with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = (sys.executable, "-m", "uv", "--no-progress")
"""The installer: it resolves for other machines and other Pythons than this one."""


class FailedError(Exception):
    """A check that did not hold, or a tool that failed; the text says which and why."""


def checked(
    words: Sequence[str],
    given: str = "",
    *,
    folder: Path = ROOT,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end and return what it printed.

    Args:
        words: the program and its arguments.
        given: its standard input.
        folder: where it runs.
        environment: its variables; None for this process's.

    Raises:
        FailedError: it ended with another exit code than 0.
    """
    done = subprocess.run(
        words,
        input=given,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise FailedError(f"`{' '.join(words)}` ended with {done.returncode}:\n{said}")
    return done.stdout
