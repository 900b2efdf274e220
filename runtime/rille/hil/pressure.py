"""How hard a machine's processors are fought over: the kernel's pressure stall information."""

from __future__ import annotations

import re
import time
from pathlib import Path

_FILE = Path("/proc/pressure/cpu")


class CpuPressure:
    """Measures from the moment it is made.

    Args:
        file: the kernel's `pressure/cpu`; another one only for tests.
    """

    def __init__(self, file: Path = _FILE) -> None:
        self._file = file
        self._began_us, self._began_ns = self._total_us(), time.monotonic_ns()

    def share(self) -> float | None:
        """Return the share of the time in which something waited for a processor, 0 to 1.

        None where the kernel does not tell.
        """
        now_us, passed_us = self._total_us(), (time.monotonic_ns() - self._began_ns) / 1000
        if now_us is None or self._began_us is None or passed_us <= 0:
            return None
        return min(1.0, max(0.0, (now_us - self._began_us) / passed_us))

    def _total_us(self) -> int | None:
        """Return the microseconds that "some" has been stalled since boot."""
        try:
            found = re.search(r"^some .*total=(\d+)", self._file.read_text())
        except OSError:
            return None
        return int(found[1]) if found else None
