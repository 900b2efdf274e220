"""What decisions about a frame rest on besides its pixels, kept by name for a replay."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rille.errors import CheckFailedError


class Moments:
    """Readings of the monotonic clock, and other inputs, of one frame.

    Live, each reading is taken and kept; from a recording, the kept ones are given out again, so
    that the same decisions are taken whatever this machine's speed is. Stages that run at the same
    time use different names.

    Args:
        recorded: the `taken` of an earlier run; None to live now.

    Attributes:
        taken: name -> nanoseconds or number.
    """

    def __init__(self, recorded: Mapping[str, int] | None = None) -> None:
        self._recorded = recorded
        self.taken: dict[str, int] = {}

    def now(self, name: str) -> int:
        """Return the monotonic time in nanoseconds, or the recorded one of that name.

        Raises:
            CheckFailedError: the recording holds none: the decisions differ from the recorded ones.
        """
        value = time.monotonic_ns() if self._recorded is None else self._given(name)
        self.taken[name] = value
        return value

    def note(self, name: str, value: int) -> int:
        """Return an input other than the time, or the recorded one of that name.

        Raises:
            CheckFailedError: see `now`.
        """
        value = value if self._recorded is None else self._given(name)
        self.taken[name] = value
        return value

    def notes(self, prefix: str, values: Mapping[str, int]) -> dict[str, int]:
        """Return inputs that are not there for every frame, or the recorded ones.

        Args:
            prefix: what their names begin with in a recording.
            values: name without the prefix -> number.
        """
        if self._recorded is not None:
            values = {
                name.removeprefix(prefix): value
                for name, value in self._recorded.items()
                if name.startswith(prefix)
            }
        self.taken |= {prefix + name: value for name, value in values.items()}
        return dict(values)

    def _given(self, name: str) -> int:
        assert self._recorded is not None
        if name not in self._recorded:
            raise CheckFailedError(
                f"the recording holds no reading {name!r}: this pipeline decides otherwise than "
                "the recorded one; replay with the configuration and the bundles of the recording"
            )
        return self._recorded[name]
