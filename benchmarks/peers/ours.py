"""rille itself, by its public names alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import cv2

import rille
from benchmarks.peers.camera import Streamed
from benchmarks.peers.peer import Answer, Peer, Workload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rille.result import Result
    from rille.sources import Source

BUDGET_MS = 60_000.0
"""So long that nothing is shed: every program here does all of the work for each frame."""


class Rille(Peer):
    """A pipeline as `rille run` has it, sinks left out: no other program here writes anything."""

    def __init__(self, workload: Workload, threads: int) -> None:
        bundles = workload.bundles()
        self._pipeline = rille.Pipeline(
            classify=bundles.get("classify"),
            segment=bundles.get("segment"),
            budget=rille.Budget(frame_ms=BUDGET_MS),
            threads=threads or None,
        )
        engines = {n.backend.name for n in self._pipeline.networks.values()}
        self.versions = {
            "rille": rille.__version__,
            "engine": ", ".join(engines),
            "opencv": cv2.__version__,
        }
        self.how = str(self._pipeline.plan)
        self._multi = "classify" in bundles and bundles["classify"].manifest.task == "multilabel"
        self._index = 0

    def answer(self, pixels: NDArray[np.uint8]) -> Answer:
        """Answer for one frame; see `Peer.answer`."""
        frame = rille.Frame(pixels=pixels, index=self._index, captured_ns=time.monotonic_ns())
        self._index += 1
        return self._answer(self._pipeline.run(frame))

    def _answer(self, result: Result) -> Answer:
        found, label = result.classification, -1
        if found is not None and self._multi:
            label = sum(1 << k for k, name in enumerate(found.labels) if name in found.present)
        elif found is not None:
            label = int(found.probabilities.argmax())
        return Answer(
            label=label, mask=result.segmentation.mask if result.segmentation is not None else None
        )

    def stream(self, camera: Source) -> Streamed:
        """Answer for the frames of a camera; every other frame comes with its fate."""
        ages_ms, told = [], 0
        for result in self._pipeline.stream(camera, losses=True):
            if result.published:
                ages_ms.append(result.age_ms)
            else:
                told += 1
        return Streamed(offered=camera.index, ages_ms=ages_ms, told=told)

    def close(self) -> None:
        """Free the networks."""
        self._pipeline.close()
