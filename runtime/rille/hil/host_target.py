"""A board that somebody else started: it gets frames, and sends telemetry back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rille.hil.target import End, Target

if TYPE_CHECKING:
    from rille.hil.target import Setup


class HostTarget(Target):
    """A device at the other end of a network, with no agent of the bench on it.

    Args:
        setup: what it should have been started with.
    """

    kind = "host"

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    def start(self) -> None:
        """Do nothing: it runs, or will."""

    @property
    def ended(self) -> bool:
        """Never known; silence tells."""
        return False

    def stop(self) -> End:
        """Leave it running."""
        return End(code=None)

    def close(self) -> None:
        """Leave it running."""
