"""A processor that does not serve the device: stopped, shared, or allotted."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from rille.hil.scenario import Fault
from rille.hil.target import Setup, Target
from rille.hil.upset import SkippedError, Upset
from rille.hil.upset_process import family

_CGROUPS = Path("/sys/fs/cgroup")
_PERIOD_US = 100_000
_BURN = "while True: pass"


class StoppedCpu(Upset):
    """Stops every process of the device: "stuck" once, "intermittent" half of every `amount` s."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self._stopped: list[int] = []
        self._pid: int | None = None

    def begin(self, target: Target) -> None:
        """Stop them."""
        self._pid = target.pid
        self._stop()

    def look(self, since_s: float) -> None:
        """Let them run, and stop them again."""
        if self.fault.type != "intermittent":
            return
        wanted = int(2 * since_s / max(self.fault.amount, 0.1)) % 2 == 0
        if wanted and not self._stopped:
            self._stop()
        elif not wanted and self._stopped:
            self.end()

    def _stop(self) -> None:
        assert self._pid is not None
        self._stopped = list(family(self._pid))
        self._signal(signal.SIGSTOP)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def end(self) -> None:
        """Let them run."""
        self._signal(signal.SIGCONT)
        self._stopped = []

    def close(self) -> None:
        """Let them run."""
        self.end()


class Burners(Upset):
    """Busy processes beside the device, `amount` of them, as nice as it is."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self._running: list[subprocess.Popen[bytes]] = []

    def begin(self, target: Target) -> None:
        """Start them."""
        count = max(1, round(self.fault.amount))
        self._running = [subprocess.Popen([sys.executable, "-c", _BURN]) for _ in range(count)]

    def end(self) -> None:
        """Kill them."""
        for burner in self._running:
            burner.kill()
            burner.wait()
        self._running = []

    def close(self) -> None:
        """Kill them."""
        self.end()


class Quota(Upset):
    """A control group that gives the device `amount` of a core; needs root."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self._group: Path | None = None
        self._second = False

    def prepare(self, setup: Setup) -> None:
        """Make the group."""
        for parent, file in ((_CGROUPS / "cpu", "cpu.cfs_quota_us"), (_CGROUPS, "cpu.max")):
            if not (parent / "cgroup.procs").exists():
                continue
            group = parent / f"rille-hil-{os.getpid()}-{setup.scenario.name}"
            try:
                group.mkdir()
            except OSError as wrong:
                raise SkippedError(f"cpu slow quota: no control group ({wrong.strerror})") from None
            self._group = group
            if (group / file).exists():
                self._second = file == "cpu.max"
                return
            self.close()
        raise SkippedError("cpu slow quota: this machine has no control group for the processor")

    def begin(self, target: Target) -> None:
        """Put the device into it, and set the quota."""
        assert self._group is not None and target.pid is not None
        quota = max(1000, round(self.fault.amount * _PERIOD_US))
        if self._second:
            (self._group / "cpu.max").write_text(f"{quota} {_PERIOD_US}")
        else:
            (self._group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (self._group / "cpu.cfs_quota_us").write_text(str(quota))
        for pid in family(target.pid):
            with contextlib.suppress(OSError):
                (self._group / "cgroup.procs").write_text(str(pid))

    def end(self) -> None:
        """Take the quota away."""
        if self._group is not None:
            file, text = ("cpu.max", "max") if self._second else ("cpu.cfs_quota_us", "-1")
            (self._group / file).write_text(text)

    def close(self) -> None:
        """Remove the group, once its processes are gone or moved up."""
        if self._group is None:
            return
        group, self._group = self._group, None
        with contextlib.suppress(OSError):
            for pid in (group / "cgroup.procs").read_text().split():
                with contextlib.suppress(OSError):
                    (group.parent / "cgroup.procs").write_text(pid)
        with contextlib.suppress(OSError):
            group.rmdir()
