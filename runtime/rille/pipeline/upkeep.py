"""What is done between frames so that networks stay what was verified."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rille.defences import Defences
from rille.events import EventLog
from rille.network import Network
from rille.radiation.mend import replaces
from rille.radiation.refresh import Made, Refresher
from rille.radiation.scrub import Scrubber, Slice
from rille.watch import GoldenWatch


class Upkeep:
    """Golden images, checksums of the bundles' bytes, and engines built anew.

    Args:
        networks: stage -> network, tested.
        check_every: frames between two golden images; 0 for none.
        defences: what else is done.
        events: where to tell what was found.
        swap: takes a network of another bundle over, as in `rille.pipeline.Pipeline.swap`.

    Attributes:
        watch: golden images in flight.
        renewed: engines built anew because it was time.
        flipped: slices of the bundles' bytes that had changed.
        build_ms: milliseconds the last one took to build, in another thread.
    """

    def __init__(
        self,
        networks: Mapping[str, Network],
        check_every: int,
        defences: Defences,
        events: EventLog,
        swap: Callable[[str, Network], None],
    ) -> None:
        self.watch = GoldenWatch(networks, check_every)
        self.renewed, self.flipped, self.build_ms = 0, 0, 0.0
        self._networks, self._events, self._swap = dict(networks), events, swap
        self._defences = defences
        self._lost: set[str] = set()
        self._scrubber = self._scrubbing()
        self._refresher = Refresher(networks, defences.rebuild_s)

    def frame(self) -> None:
        """Count a frame that was worked on."""
        self.watch.frame()

    def after_swap(self, networks: Mapping[str, Network]) -> None:
        """Go on with other networks."""
        self._networks, self._lost = dict(networks), set()
        self.watch = self.watch.after_swap(networks)
        self._scrubber = self._scrubbing()
        self._refresher.follow(networks)

    def doubt(self) -> None:
        """Run a golden image at the next opportunity: an output cannot be an answer."""
        self.watch.hasten()

    def look(self, busy: bool) -> None:
        """Do what is due; called between two frames.

        Args:
            busy: whether a frame is waiting.

        Raises:
            CheckFailedError: a network no longer gives its golden answers, even built anew.
            BundleError: there are no whole bytes left to build it from.
            BackendError: it cannot be built.
        """
        self._golden(busy)
        part = self._scrubber.step()
        if part is not None and part.stage not in self._lost and not self._refresher.busy:
            self._flipped(part)
        made = self._refresher.take()
        if made is not None:
            self._take(made)

    def to_json(self) -> dict[str, float]:
        """Return what was done and found, for a run's summary."""
        return {
            "slices": self._scrubber.slices,
            "passes": self._scrubber.passes,
            "flipped": self.flipped,
            "renewed": self.renewed,
            "build_ms": round(self.build_ms, 1),
        }

    def close(self) -> None:
        """End the other thread."""
        self._refresher.close()

    def _scrubbing(self) -> Scrubber:
        bundles = {
            stage: network.bundle
            for stage, network in self._networks.items()
            if network.bundle is not None and stage not in self._lost
        }
        return Scrubber(bundles, self._defences.scrub_kb * 1024)

    def _golden(self, busy: bool) -> None:
        known = len(self.watch.rebuilds)
        self.watch.look(busy)
        for rebuild in self.watch.rebuilds[known:]:
            self._events.emit(
                "NETWORK_REBUILT",
                f"{rebuild.stage} was built anew after {rebuild.after} frames: {rebuild.reason}",
                stage=rebuild.stage,
                after=rebuild.after,
                suspect=rebuild.suspect,
            )
            # Its bytes may have been read again, or come from the other slot.
            fresh = self.watch.take(rebuild.stage)
            if fresh is not None:
                self._place(rebuild.stage, fresh)
            else:
                self._scrubber = self._scrubbing()

    def _flipped(self, part: Slice) -> None:
        """Tell that bytes changed, and have the network made again from whole ones."""
        self.flipped += 1
        self._events.emit(
            "WEIGHTS_FLIPPED",
            f"{part.stage}: {part.file} changed in memory, somewhere in the bytes {part.start} to "
            f"{part.end}; it is loaded again",
            stage=part.stage,
            file=part.file,
            start=part.start,
        )
        self._refresher.begin(part.stage, reread=True)

    def _take(self, made: Made) -> None:
        """Let a network that was built anew fly, or tell why there is none."""
        stage = made.stage
        if made.network is None:
            self._lost.add(stage)
            self._refresher.leave(stage)
            self._scrubber = self._scrubbing()
            self._events.emit(
                "WEIGHTS_LOST",
                f"{stage}: cannot be built anew ({made.error}); what flies goes on flying, and is "
                "no longer checked but by golden images",
                stage=stage,
            )
            return
        self.build_ms, self.renewed = made.took_ms, self.renewed + 1
        self._events.emit(
            "NETWORK_RENEWED",
            f"{stage}: built anew from verified bytes in {made.took_ms:.0f} ms",
            stage=stage,
            took_ms=round(made.took_ms, 1),
        )
        self._place(stage, made.network)

    def _place(self, stage: str, fresh: Network) -> None:
        """Put a network in the place of the one that flies."""
        network = self._networks[stage]
        if replaces(fresh, network):
            assert fresh.bundle is not None
            self._events.emit(
                "BUNDLE_FELL_BACK",
                f"{stage}: {fresh.bundle.where} flies from now on: the bundle that flew is damaged",
                stage=stage,
                digest=fresh.bundle.digest,
            )
            self._swap(stage, fresh)
            return
        before = network.bundle
        network.adopt(fresh)
        if network.bundle is not before:
            self._scrubber = self._scrubbing()
