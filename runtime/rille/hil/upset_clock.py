"""A device whose clock is not the bench's."""

from __future__ import annotations

import subprocess

from rille.hil.target import Setup
from rille.hil.upset import SkippedError, Upset


class OtherBoot(Upset):
    """The device in a time namespace: its monotonic clock is `amount` s ahead; needs root."""

    def prepare(self, setup: Setup) -> None:
        """Start the device through `unshare --time`."""
        ahead = round(self.fault.amount)
        words = ["unshare", "--time", "--monotonic", str(ahead), "--boottime", str(ahead)]
        try:
            subprocess.run([*words, "true"], check=True, capture_output=True, timeout=10)
        except (OSError, subprocess.SubprocessError) as wrong:
            raise SkippedError(f"clock wrong boot: no time namespace here ({wrong})") from None
        setup.prefix += words
