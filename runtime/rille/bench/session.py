"""Everything that a benchmark needs, loaded once: pipeline, floors, parts, frames."""

from __future__ import annotations

from typing import Any

from rille.bench.answers import Answers
from rille.bench.arrivals import OpenResult, run_open
from rille.bench.baseline import LEAST_BLOCKS, Change, compare
from rille.bench.blocks import CLOCKS, StageBlocks
from rille.bench.closed import ClosedResult, run_closed
from rille.bench.floor import Floors
from rille.bench.frames import data_digest, rendered
from rille.bench.reference import VERSION
from rille.bench.repeats import Repeats, see_twice
from rille.bench.soak import Soak, run_soak
from rille.board import processor, usable_cores
from rille.budget import Budget
from rille.bundle import Bundle
from rille.closing import Closing
from rille.pipeline import Pipeline

_FRAMES_A_BLOCK = 50
_MOST_BLOCKS, _MORE_BLOCKS = 40, 4


class Bench(Closing):
    """A pipeline and what it is held against. Use it as a context manager, or call `close`.

    Args:
        classify, segment: the bundles.
        width, height: size of the simulated frames in pixels.
        threads: threads for one inference; None for the plan of `rille.plan`.
        parallel: whether both networks run at the same time; None likewise.
        frame_ms: budget; nothing is shed unless it is too small.

    Attributes:
        bundles: stage -> bundle.
        pool: the frames, (height, width, 3) uint8.
        pipeline: what is measured.
        blocks: its parts, beside their references.

    Raises:
        ConfigError: neither bundle is given.
        BundleError, BackendError: see `rille.Pipeline`.
    """

    def __init__(
        self,
        *,
        classify: Bundle | None,
        segment: Bundle | None,
        width: int,
        height: int,
        threads: int | None,
        parallel: bool | None,
        frame_ms: float,
        backend: str = "",
    ) -> None:
        self.pipeline = Pipeline(
            classify=classify,
            segment=segment,
            budget=Budget(frame_ms=frame_ms),
            backend=backend,
            threads=threads,
            parallel=parallel,
        )
        given = {"classify": classify, "segment": segment}
        self.bundles = {name: bundle for name, bundle in given.items() if bundle is not None}
        self.pool = rendered(width, height)
        self.blocks = StageBlocks(self.bundles, self.pool, backend)
        self._size = (width, height)
        self._floors = Floors(list(self.bundles.values()), self.pipeline.plan.threads)
        self._answers = Answers()

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same in two runs that are compared."""
        networks = self.pipeline.networks
        return {
            "board": processor(),
            "cores": usable_cores(),
            "bundles": {name: bundle.digest for name, bundle in self.bundles.items()},
            "backends": {name: network.backend.name for name, network in networks.items()},
            "data": data_digest(self.pool),
            "size": list(self._size),
            "threads": self.pipeline.plan.threads,
            "parallel": self.pipeline.plan.parallel,
            "reference": VERSION,
        }

    def closed(self, frames: int, warmup: int, *, compared: bool = False) -> ClosedResult:
        """Run the closed loop; see `run_closed`.

        Args:
            frames, warmup: how many count, and how many come before.
            compared: whether the blocks must do for a comparison.
        """
        wanted = min(_MOST_BLOCKS, frames // _FRAMES_A_BLOCK)
        return run_closed(
            self.pipeline,
            self._floors,
            self.blocks,
            self.pool,
            frames=frames,
            warmup=warmup,
            least_blocks=max(wanted, LEAST_BLOCKS if compared else 1),
            answers=self._answers,
        )

    def open(self, fps: float, count: int) -> OpenResult:
        """Let frames arrive at a fixed rate; see `run_open`."""
        return run_open(self.pipeline, self.pool, fps=fps, count=count, answers=self._answers)

    def soak(self, minutes: float) -> Soak:
        """Work without a pause; see `run_soak`."""
        return run_soak(self.pipeline, self._floors, self.pool, minutes=minutes)

    def verify(self) -> Repeats:
        """Hold every answer noted so far against a plain run, and see frames twice.

        Raises:
            CheckFailedError: an answer differs, or repeated frames save time.
        """
        self._answers.check(self.pool, self.bundles)
        repeats = see_twice(self.blocks.pipeline, self.pool)
        repeats.check()
        return repeats

    def compare(self, baseline: dict[str, Any], where: str) -> list[Change]:
        """Return how every part changed since a baseline.

        Blocks are added while there is doubt, and what looks slower is measured once more: it
        counts only if the second measurement alone says so too.

        Args:
            baseline: an earlier bench.json, of the same `identity`.
            where: its name.

        Raises:
            ConfigError: the baseline is damaged, or too short.
        """
        first, most = compare(baseline, self._ratios(0), where), 2 * self.blocks.count
        while self.blocks.count < most and any(map(_doubtful, first)):
            for _ in range(_MORE_BLOCKS):
                self.blocks.block()
            first = compare(baseline, self._ratios(0), where)
        if not any(change.slower for change in first):
            return first
        before = self.blocks.count
        for _ in range(before):
            self.blocks.block()
        second = compare(baseline, self._ratios(before), where)
        return [
            again if change.slower else change for change, again in zip(first, second, strict=True)
        ]

    def _ratios(self, start: int) -> dict[str, dict[str, list[float]]]:
        parts = self.blocks.parts.items()
        return {name: {c: ratios.ratios[c][start:] for c in CLOCKS} for name, ratios in parts}

    def close(self) -> None:
        """Free the networks."""
        self.pipeline.close()
        self.blocks.close()
        self._floors.close()


def _doubtful(change: Change) -> bool:
    """Say whether more blocks could tell another story."""
    beyond = change.change > change.limit and not change.slower
    return change.clock == "cpu" and (change.unclear or beyond)
