"""Changing a bundle in flight: the new network is made ready while the old one serves.

What was installed into a slot was tried there in a process of its own (`rille bundle install`).
Here it is verified again, loaded, and must give its golden answers, all in another thread; where it
does not, the old one goes on flying. That thread takes processor time from the frames: a budget
that is met barely will shed work meanwhile.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rille.closing import Closing
from rille.errors import BundleError, RilleError
from rille.events import EventLog

if TYPE_CHECKING:
    from rille.bundle import Bundle
    from rille.network import Network


@dataclass(frozen=True, kw_only=True, slots=True)
class Renewal:
    """How the bundle of one stage is looked up anew.

    Attributes:
        digest: of the bundle that flies.
        task: what it does; the next one must do the same.
        find: returns the bundle that should fly now, verified.
        load: makes a network of it.
    """

    digest: str
    task: str
    find: Callable[[], Bundle]
    load: Callable[[Bundle], Network]


class BundleSwapper(Closing):
    """Makes newly installed bundles ready in the background; a context manager.

    Args:
        stages: stage name -> how its bundle is found; those that cannot change are left out.
        swap: called with stage name and network when one is ready, in the swapper's thread; takes
            the network over, or raises a `RilleError`.
        events: told of BUNDLE_SWAPPED, BUNDLE_REFUSED and BUNDLE_UNCHANGED.
    """

    def __init__(
        self,
        stages: Mapping[str, Renewal],
        swap: Callable[[str, Network], None],
        events: EventLog,
    ) -> None:
        self._stages = stages
        self._flying = {name: renewal.digest for name, renewal in stages.items()}
        self._swap, self._events = swap, events
        self._requests: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="rille-swap", daemon=True)

    def request(self) -> None:
        """Look for new bundles; returns at once, and may be called from a signal handler."""
        self._requests.put(True)  # reentrant, as the documentation of SimpleQueue promises

    def close(self) -> None:
        """Take no more requests; a network that is being made ready is given some time."""
        self._requests.put(False)
        if self._thread.is_alive():
            self._thread.join(0.5)

    def _serve(self) -> None:
        while self._requests.get():
            if not self._stages:
                self._events.emit(
                    "BUNDLE_UNCHANGED",
                    "no bundle comes from a folder into which bundles are installed",
                )
            for stage in self._stages:
                self._renew(stage)

    def _renew(self, stage: str) -> None:
        """Swap one stage's network, if another bundle should fly and does."""
        renewal = self._stages[stage]
        try:
            bundle = renewal.find()
            what = f"{bundle.name} {bundle.manifest.version}"
            about = {"stage": stage, "digest": bundle.digest}
            if bundle.digest == self._flying[stage]:
                self._events.emit("BUNDLE_UNCHANGED", f"{stage}: {what} flies already", **about)
                return
            self._hand_over(stage, _ready(renewal, bundle))
        except (RilleError, OSError, MemoryError) as wrong:
            text = f"{stage}: {str(wrong) or type(wrong).__name__}; the old one goes on flying"
            self._events.emit("BUNDLE_REFUSED", text, stage=stage)
            return
        self._flying[stage] = bundle.digest
        self._events.emit("BUNDLE_SWAPPED", f"{stage}: {what} flies from now on", **about)

    def _hand_over(self, stage: str, network: Network) -> None:
        """Let a network fly; one that is refused is freed."""
        try:
            self._swap(stage, network)
        except RilleError:
            network.close()
            raise

    def __enter__(self) -> BundleSwapper:
        self._thread.start()
        return self


def _ready(renewal: Renewal, bundle: Bundle) -> Network:
    """Return a network that gives its golden answers.

    Raises:
        BundleError: it does another task than the one that flies.
        RilleError: it cannot be loaded, or its answers are wrong.
    """
    if bundle.manifest.task != renewal.task:
        raise BundleError(
            f"{bundle.where}: does {bundle.manifest.task}, but what flies does {renewal.task}"
        )
    network = renewal.load(bundle)
    try:
        network.self_test()
    except RilleError:
        network.close()
        raise
    return network
