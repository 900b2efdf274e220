"""A fault that is injected into the device's surroundings, from outside: the contract."""

from __future__ import annotations

from rille.closing import Closing
from rille.hil.scenario import Fault
from rille.hil.target import Setup, Target


class SkippedError(Exception):
    """This machine cannot inject a fault (no root, a program missing); says which and why."""


class Upset(Closing):
    """One fault of a run. A context manager.

    Args:
        fault: what it is.
    """

    def __init__(self, fault: Fault) -> None:
        self.fault = fault

    def prepare(self, setup: Setup) -> None:
        """Change what the device is started with, before it is.

        Raises:
            SkippedError: this machine cannot do it.
        """

    def begin(self, target: Target) -> None:
        """Begin, where the fault has a beginning."""

    def look(self, since_s: float) -> None:
        """Go on: called at every turn between `begin` and `end`.

        Args:
            since_s: seconds since it began.
        """

    def end(self) -> None:
        """End, where the fault has an end."""

    def close(self) -> None:
        """Leave nothing behind; safe to call twice."""
