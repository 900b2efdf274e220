"""Processes of the device that are killed or stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from rille.hil.scenario import Fault
from rille.hil.target import Setup, Target
from rille.hil.upset import Upset


class ProcessUpset(Upset):
    """Kills ("off", "intermittent") or stops ("stuck") one of the device's processes."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.setup: Setup | None = None
        self._target: Target | None = None
        self._done = 0

    def prepare(self, setup: Setup) -> None:
        """Take note of the folder in which a supervisor tells its child's id."""
        self.setup = setup

    def begin(self, target: Target) -> None:
        """Send the signal for the first time."""
        self._target, self._done = target, 1
        self.strike()

    def look(self, since_s: float) -> None:
        """Strike again, where the fault returns."""
        if self.fault.type != "intermittent" or not self.fault.amount:
            return
        if since_s >= self._done * self.fault.amount and self.strike():
            self._done += 1

    def strike(self) -> bool:
        """Send the signal; return whether there was somebody to get it."""
        assert self.setup is not None and self._target is not None
        number = signal.SIGSTOP if self.fault.type == "stuck" else signal.SIGKILL
        pid: int | None
        if self.fault.value == "capture":
            pid = capture_process(self.setup.source)
        elif self.fault.value == "supervisor":
            pid = self._target.pid
        else:
            pid = supervised_child(self.setup.out)
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        return True


def capture_process(source: str) -> int | None:
    """Return the process that captures a source; None where there is none."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"rille.capture.process" in words and source.encode() in words:
                return int(folder.name)
    return None


def supervised_child(out: Path, *, serving: bool = False) -> int | None:
    """Return the run that a supervisor watches now; None while there is none.

    Args:
        out: the supervisor's folder.
        serving: only one whose networks are loaded.
    """
    try:
        table = json.loads((out / "supervisor.json").read_text())
        pid, state = table["child_pid"], table["state"]
    except (OSError, ValueError, KeyError):
        return None
    return pid if isinstance(pid, int) and (state == "running" or not serving) else None


def family(pid: int) -> Iterator[int]:
    """Yield a process and all that come of it."""
    yield pid
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from family(int(child))
