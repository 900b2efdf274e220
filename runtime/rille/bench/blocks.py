"""How each part of each stage compares with fixed work beside it: what a baseline is made of.

A machine that others share is faster in one minute than in the next, by more than the slow-downs
that matter. So nothing is compared across minutes: a part and its reference take turns, call by
call (A-B-A-B), and the ratio of the two is kept for each block of frames. Blocks differ by what
the machine did meanwhile; that is the noise, and it is measured with the ratios.

Of the repeats of one frame the fastest counts, of the frames of a block the lower quartile: both
leave out what interrupted a call and not what it had to do. Times are those of the calling thread
on a processor, and by the wall clock as well, because a stage may also wait. One thread each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille.bench.floor import plain_loop, plain_network
from rille.bench.reference import VERSION, postprocess_reference, preprocess_reference
from rille.budget import Budget
from rille.bundle import Bundle
from rille.closing import Closing
from rille.frame import Frame
from rille.network import Network
from rille.pipeline import Pipeline

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAMES = 4
CLOCKS = {"cpu": time.thread_time_ns, "wall": time.perf_counter_ns}
_REPEATS, _INFER_REPEATS = 6, 2
_BUDGET_MS = 1e6
Call = Callable[[], object]


@dataclass(kw_only=True)
class Ratios:
    """One part beside its reference.

    Attributes:
        ratios: clock -> part over reference, one for each block.
        part_ms, reference_ms: clock -> the same times by themselves.
    """

    ratios: dict[str, list[float]] = field(default_factory=lambda: {c: [] for c in CLOCKS})
    part_ms: dict[str, list[float]] = field(default_factory=lambda: {c: [] for c in CLOCKS})
    reference_ms: dict[str, list[float]] = field(default_factory=lambda: {c: [] for c in CLOCKS})

    def add(self, reference: NDArray[np.float64], part: NDArray[np.float64]) -> None:
        """Add a block: (frames, clocks) milliseconds of both."""
        for k, clock in enumerate(CLOCKS):
            low, own = (float(np.quantile(times[:, k], 0.25)) for times in (reference, part))
            self.reference_ms[clock].append(low)
            self.part_ms[clock].append(own)
            self.ratios[clock].append(own / low)

    def to_json(self) -> dict[str, Any]:
        """Return the ratios, and the median times in milliseconds."""
        return {
            "ratios": self.ratios,
            "part_ms": {clock: float(np.median(ms)) for clock, ms in self.part_ms.items()},
            "reference_ms": {c: float(np.median(ms)) for c, ms in self.reference_ms.items()},
        }


class StageBlocks(Closing):
    """Measures the parts of a pipeline beside their references, block after block.

    Args:
        bundles: stage -> bundle.
        frames: (H, W, 3) or (H, W) uint8; the first four are a block.
        backend: name of the inference engine; empty for the usual one.

    Attributes:
        pipeline: what is measured: its networks, one after the other, one thread each.
        parts: "classify infer" and the like, and "frame" for the whole -> what was measured.
        count: blocks so far.

    Raises:
        BundleError, BackendError: see `rille.Pipeline`.
    """

    def __init__(
        self,
        bundles: Mapping[str, Bundle],
        frames: Sequence[NDArray[np.uint8]],
        backend: str = "",
    ) -> None:
        self.pipeline = Pipeline(
            classify=bundles.get("classify"),
            segment=bundles.get("segment"),
            budget=Budget(frame_ms=_BUDGET_MS),
            backend=backend,
            threads=1,
            parallel=False,
            check_every=0,
        )
        self.parts: dict[str, Ratios] = {}
        self.count = 0
        self._frames = frames[:FRAMES]
        # Engines of their own, so that what is planted in or goes wrong with ours stays ours.
        self._floor = {name: plain_network(bundle) for name, bundle in bundles.items()}
        self._loop = plain_loop(list(self._floor.values()))
        self._before = {n: preprocess_reference(own) for n, own in self.pipeline.networks.items()}
        self._after = {n: postprocess_reference(own) for n, own in self.pipeline.networks.items()}

    def block(self, *, counts: bool = True) -> None:
        """Measure one block.

        Args:
            counts: whether it is kept; the first one after a start should not be.
        """
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            spent = [self._frame(pixels) for pixels in self._frames]
        finally:
            cv2.setNumThreads(threads)
        if not counts:
            return
        self.count += 1
        for name in spent[0]:
            both = np.array([times[name] for times in spent]) / 1e6
            self.parts.setdefault(name, Ratios()).add(both[:, 0], both[:, 1])

    def _frame(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.int64]]:
        """Return part -> (2, clocks) nanoseconds of its reference and of itself."""
        found: dict[str, NDArray[np.int64]] = {}
        for name, network in self.pipeline.networks.items():
            found |= self._network(name, network, pixels)
        found["frame"] = _alternate(
            lambda: self._loop(pixels),
            lambda: self.pipeline.run(
                Frame(pixels=pixels, index=0, captured_ns=time.monotonic_ns())
            ),
            1,
        )
        return found

    def _network(
        self, name: str, network: Network, pixels: NDArray[np.uint8]
    ) -> dict[str, NDArray[np.int64]]:
        before, engine = self._before[name], self._floor[name].backend
        pre = _alternate(lambda: before(pixels), lambda: network.preprocessor(pixels), _REPEATS)
        tensor, geometry = network.preprocessor(pixels)
        outputs = network.backend.infer(tensor)
        infer = _alternate(
            lambda: engine.infer(tensor), lambda: network.backend.infer(tensor), _INFER_REPEATS
        )
        post = _alternate(self._after[name], lambda: network.decode(outputs, geometry), _REPEATS)
        return {f"{name} preprocess": pre, f"{name} infer": infer, f"{name} postprocess": post}

    def to_json(self) -> dict[str, Any]:
        """Return everything, for a results file."""
        return {
            "reference_version": VERSION,
            "frames": len(self._frames),
            "blocks": self.count,
            "parts": {name: ratios.to_json() for name, ratios in self.parts.items()},
        }

    def close(self) -> None:
        """Free the networks."""
        self.pipeline.close()
        for network in self._floor.values():
            network.close()


def _alternate(reference: Call, part: Call, repeats: int) -> NDArray[np.int64]:
    """Call both in turn, and return (2, clocks) nanoseconds: the fastest call of each."""
    best = np.full((2, len(CLOCKS)), np.iinfo(np.int64).max)
    for _ in range(repeats):
        for place, call in enumerate((reference, part)):
            wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
            call()
            spent = (time.thread_time_ns() - cpu, time.perf_counter_ns() - wall)
            best[place] = np.minimum(best[place], spent)
    return best
