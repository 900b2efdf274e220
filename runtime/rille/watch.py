"""Golden images while a stream flies: is the network still the one that was verified?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rille.errors import CheckFailedError, InferenceError
from rille.network import Network
from rille.radiation.mend import mended, replaces

_MOMENTS = 10
"""Checks in a row that haste may bring where there would be one."""


@dataclass(frozen=True, slots=True)
class Rebuild:
    """A network that no longer gave its golden answers was built anew.

    Attributes:
        stage: which network.
        after: number of frames that had been worked on.
        suspect: how many of them since its last good check: their answers may be wrong.
        reason: what the check found.
    """

    stage: str
    after: int
    suspect: int
    reason: str


class GoldenWatch:
    """Runs one golden image every so many frames, stages and images in turn.

    It waits for a moment in which no frame is waiting, up to twice that many frames. A network that
    fails is built anew from the bundle's verified bytes, or, where they are damaged, from where the
    bundle came, or from the other slot.

    Args:
        networks: stage name -> network.
        every: frames between two checks; 0 for none.

    Attributes:
        checks: how many images were run.
        rebuilds: what was built anew.
    """

    def __init__(self, networks: Mapping[str, Network], every: int) -> None:
        if every < 0:
            raise ValueError(f"check_every must be at least 0, not {every}")
        self._networks = networks
        self._every = every
        self._turns = [
            (stage, which)
            for stage, network in networks.items()
            for which in range(network.golden_count)
        ]
        # Stages alternate before images repeat.
        self._turns.sort(key=lambda turn: turn[1])
        self._next = 0
        self._frames = self._since = 0
        self._good = dict.fromkeys(networks, 0)
        self.checks = 0
        self.rebuilds: list[Rebuild] = []
        self._others: dict[str, Network] = {}

    def after_swap(self, networks: Mapping[str, Network]) -> GoldenWatch:
        """Return a watch over other networks that goes on counting where this one is."""
        watch = GoldenWatch(networks, self._every)
        watch._frames, watch._since = self._frames, self._since
        watch._good = dict.fromkeys(networks, self._frames)
        watch.checks, watch.rebuilds = self.checks, self.rebuilds
        return watch

    def frame(self) -> None:
        """Count a frame that was worked on."""
        self._frames += 1
        self._since += 1

    def hasten(self) -> None:
        """Let the next image be due at once, unless the last one was a moment ago."""
        if self._since * _MOMENTS >= self._every:
            self._since = self._every

    def take(self, stage: str) -> Network | None:
        """Return, once, the network of another bundle that must take a stage over, if any."""
        return self._others.pop(stage, None)

    def look(self, busy: bool) -> None:
        """Run a golden image if one is due.

        Args:
            busy: whether a frame is waiting.

        Raises:
            CheckFailedError: a network built anew fails as well.
            BundleError: the bundle's bytes changed in memory, and are whole nowhere else.
            BackendError: the engine cannot be built.
        """
        if not self._every or not self._turns or self._since < self._every * (2 if busy else 1):
            return
        self._since = 0
        stage, which = self._turns[self._next]
        self._next = (self._next + 1) % len(self._turns)
        self.checks += 1
        network = self._networks[stage]
        try:
            network.check(which)
        except (CheckFailedError, InferenceError) as wrong:
            suspect = self._frames - self._good[stage]
            self.rebuilds.append(Rebuild(stage, self._frames, suspect, str(wrong)))
            fresh = mended(network)
            if replaces(fresh, network):
                self._others[stage] = fresh
            else:
                network.adopt(fresh)
        self._good[stage] = self._frames
