"""Engines built anew beside those that fly, in a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from rille.errors import RilleError
from rille.network import Network
from rille.radiation.mend import mended


@dataclass(frozen=True, slots=True)
class Made:
    """What came of building a network anew.

    Attributes:
        stage: which.
        network: ready to fly; None where it failed.
        took_ms: milliseconds in the other thread.
        error: why it failed.
    """

    stage: str
    network: Network | None
    took_ms: float
    error: str = ""


class Refresher:
    """Builds each network anew now and then, one at a time.

    Only engines that say `rebuilds_aside` are built now and then: those on a processor, whose
    copies of the weights can be thrown away and made again beside the one that flies.

    Args:
        networks: stage -> network.
        every_s: seconds between two engines of one stage; 0 for never.
        clock: monotonic nanoseconds.
    """

    def __init__(
        self,
        networks: Mapping[str, Network],
        every_s: float,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._every_ns, self._clock = round(every_s * 1e9), clock
        self._due: dict[str, int] = {}
        self._stages: list[str] = []
        self._job: Future[Made] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self.follow(networks)

    def follow(self, networks: Mapping[str, Network]) -> None:
        """Take other networks over; what is being built of those before is thrown away."""
        self.forget()
        self._networks = {k: n for k, n in networks.items() if n.bundle is not None}
        aside = [
            stage
            for stage, network in self._networks.items()
            if self._every_ns and getattr(network.backend, "rebuilds_aside", False)
        ]
        now = self._clock()
        # Spread over the time, so that no two fall together.
        self._due = {
            stage: now + self._every_ns * (k + 1) // len(aside) for k, stage in enumerate(aside)
        }

    @property
    def busy(self) -> bool:
        """Whether something is being built or waits to be taken."""
        return self._job is not None

    def begin(self, stage: str, *, reread: bool = False) -> None:
        """Build a stage's network anew, from whatever bytes are whole, unless one is at work.

        Args:
            stage: which.
            reread: whether its bytes are known to be damaged.
        """
        if self._job is None:
            self._pool = self._pool or ThreadPoolExecutor(1, "rille-rebuild")
            self._job = self._pool.submit(_made, stage, self._networks[stage], reread)

    def take(self) -> Made | None:
        """Begin what is due; return what is ready. Called between two frames."""
        if self._job is None:
            now = self._clock()
            for stage in sorted(self._due, key=lambda one: self._due[one])[:1]:
                if now >= self._due[stage]:
                    self._due[stage] = now + self._every_ns
                    self.begin(stage)
            return None
        if not self._job.done():
            return None
        job, self._job = self._job, None
        return job.result()

    def leave(self, stage: str) -> None:
        """Build a stage no more of its own accord."""
        self._due.pop(stage, None)

    def forget(self) -> None:
        """Wait for what is being built, and free it."""
        job, self._job = self._job, None
        if job is not None:
            made = job.result()
            if made.network is not None:
                made.network.close()

    def close(self) -> None:
        """Free everything and end the thread."""
        self.forget()
        if self._pool is not None:
            self._pool.shutdown()


def _made(stage: str, network: Network, reread: bool) -> Made:
    begin = time.perf_counter_ns()
    fresh, error = None, ""
    try:
        fresh = mended(network, reread=reread)
    except (RilleError, MemoryError) as wrong:
        error = str(wrong) or type(wrong).__name__
    return Made(stage, fresh, (time.perf_counter_ns() - begin) / 1e6, error)
