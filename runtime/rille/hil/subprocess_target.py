"""`rille run` as a program of its own: the device under test over loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rille.bundle import load_bundle
from rille.errors import BundleError
from rille.hil.target import End, Target

if TYPE_CHECKING:
    from rille.hil.target import Setup

_MOST_WORDS = 4000
_PATIENCE_S = 20.0
_WRAPPERS = ("strace", "unshare")


class SubprocessTarget(Target):
    """Starts `rille run`, unmodified, with the bench's source and sinks.

    Args:
        setup: what to start it with.
    """

    kind = "subprocess"

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._child: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None

    def start(self) -> None:
        """Start the program; its words go to a file in the bench's folder."""
        setup = self._setup
        paths = [p for p in sys.path if p]
        self._said = (setup.folder / "device.log").open("wb")
        self._child = subprocess.Popen(
            [*setup.prefix, sys.executable, "-m", "rille", "run", *words_of(setup)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,
        )
        self.pid = self._child.pid

    @property
    def ended(self) -> bool:
        """Whether the program has ended."""
        return self._child is not None and self._child.poll() is not None

    def stop(self) -> End:
        """Send SIGTERM where it still runs, and wait for its end."""
        child = self._child
        assert child is not None
        stop_s = None
        if child.poll() is None:
            began = time.monotonic()
            self._terminate(child)
            try:
                child.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._kill()
                child.wait()
            stop_s = time.monotonic() - began
        log = self._setup.folder / "device.log"
        words = log.read_bytes()[-_MOST_WORDS:].decode(errors="replace")
        return End(code=child.returncode, words=words, stop_s=stop_s)

    def _terminate(self, child: subprocess.Popen[bytes]) -> None:
        """Send SIGTERM to the device: behind a tracer it is the child's child."""
        name = Path(f"/proc/{child.pid}/comm").read_text().strip()
        behind = _children(child.pid) if name in _WRAPPERS else []
        os.kill(behind[0] if behind else child.pid, signal.SIGTERM)

    def _kill(self) -> None:
        assert self._child is not None
        try:
            os.killpg(self._child.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def close(self) -> None:
        """Kill whatever is left of it; safe to call twice."""
        if self._child is not None:
            self._kill()
            self._child.wait()
        if self._said is not None:
            self._said.close()


def _children(pid: int) -> list[int]:
    """Return the processes that a process started."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def words_of(setup: Setup) -> list[str]:
    """Return the words after "rille run" that make a device of it."""
    scenario = setup.scenario
    settings = [
        "output.video=false",
        "output.report=false",
        f"output.sinks={json.dumps(setup.sinks)}",
        f"budget.frame_ms={scenario.budget_ms}",
        *stage_settings(setup.bundles),
        *scenario.set,
        *setup.settings,
    ]
    words = ["--supervised"] if scenario.supervised else []
    words += ["--source", setup.source, "--out", str(setup.out)]
    return [*words, *(word for setting in settings for word in ("--set", setting))]


def stage_settings(bundles: list[str]) -> list[str]:
    """Return settings that fly these bundles, each in the stage for its task, and no others.

    One that cannot be opened goes where a classifier would: the device is to say so itself.
    """
    stages = {"classify": "", "segment": ""}
    for bundle in bundles:
        try:
            task = load_bundle(bundle).manifest.task
        except BundleError:
            task = "classification"
        stages["segment" if task == "segmentation" else "classify"] = bundle
    return [f"{stage}.bundle={json.dumps(bundle)}" for stage, bundle in stages.items()]
