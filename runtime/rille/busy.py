"""How much of a machine's processors other processes take, while something is measured."""

from __future__ import annotations

import os
import time
from pathlib import Path

BUSY = 0.2
"""Share of the processors from which others make a comparison of thread counts doubtful."""


class OtherWork:
    """Watches from the moment it is made.

    Args:
        file: the kernel's `/proc/stat`; another one only for tests.
    """

    def __init__(self, file: Path = Path("/proc/stat")) -> None:
        self._file = file
        self._began, self._own = self._jiffies(), time.process_time()

    def share(self) -> float | None:
        """Return the share of all processors' time that other processes took, 0 to 1.

        Interrupts and what a virtual machine's host took count as others. None where the kernel
        does not tell, or no time has passed.
        """
        now, own_s = self._jiffies(), time.process_time() - self._own
        if now is None or self._began is None:
            return None
        spent, idle = (b - a for a, b in zip(self._began, now, strict=True))
        own = own_s * os.sysconf("SC_CLK_TCK")
        return None if spent <= 0 else min(1.0, max(0.0, (spent - idle - own) / spent))

    def _jiffies(self) -> tuple[int, int] | None:
        """Return all time of all processors since boot, and their idle time, in clock ticks."""
        try:
            line = self._file.read_text().split("\n", 1)[0].split()
            # user nice system idle iowait irq softirq steal; guests are counted in user already
            ticks = [int(word) for word in line[1:9]]
        except (OSError, ValueError):
            return None
        return (sum(ticks), ticks[3] + ticks[4]) if line[:1] == ["cpu"] and len(ticks) > 4 else None
