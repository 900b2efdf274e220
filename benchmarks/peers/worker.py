"""One peer in a process of its own, told what to do line by line.

    python -m benchmarks.peers.worker ENTRY FRAMES.npy

Each line on stdin is a JSON request, each on stdout its answer. In a process of its own a peer may
crash, hang, keep threads spinning or live in another environment without touching the others.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.frames import PreRendered
from benchmarks.peers.known import ENTRIES, Entry
from benchmarks.peers.peer import NothingToRunError, Peer, PeerRefusedError, Workload

_WARM = 2
"""Frames of each block that do not count: other programs had the caches in between."""


class Worker:
    """Serves one peer.

    Args:
        entry: which.
        pool: (n, H, W, 3) uint8, the frames.
    """

    def __init__(self, entry: Entry, pool: Any) -> None:
        self._entry, self._pool = entry, pool
        self._peer: Peer | None = None

    def open(self, *, classify: str, segment: str) -> dict[str, Any]:
        """Load a workload; {"missing": why} where the peer is not installed."""
        kind = self._entry.resolve()
        for module in kind.needs:
            if find_spec(module) is None:
                return {"missing": f"{module} is not installed: {kind.install}"}
        self._peer = kind(Workload(classify=classify, segment=segment), self._entry.threads)
        return {"versions": dict(self._peer.versions), "how": self._peer.how}

    def answers(self, *, path: str) -> dict[str, Any]:
        """Answer for each frame of the pool once and write labels and masks to an .npz file."""
        found = [self._loaded.answer(pixels) for pixels in self._pool]
        masks = [one.mask for one in found if one.mask is not None]
        with Path(path).open("wb") as file:
            np.savez(file, labels=[one.label for one in found], masks=masks)
        return {"digests": [one.digest for one in found]}

    def block(self, *, first: int, count: int, most_s: float) -> dict[str, Any]:
        """Answer for `count` frames, one after the other, from number `first` of the pool on.

        After `most_s` it is the others' turn: one slow program must not take all the time.
        """
        spent_ms: list[float] = []
        digests = []
        for turn in range(-_WARM, count):
            which = (first + turn) % len(self._pool)
            start = time.perf_counter_ns()
            answer = self._loaded.answer(self._pool[which])
            spent = (time.perf_counter_ns() - start) / 1e6
            if sum(spent_ms) > 1000 * most_s:
                break
            if turn >= 0:
                spent_ms.append(spent)
                digests.append((which, answer.digest))
        return {"spent_ms": spent_ms, "digests": digests}

    def stream(self, *, fps: float, count: int) -> dict[str, Any]:
        """Answer for a camera that shows `count` frames at a rate."""
        with PreRendered(self._pool, count, fps) as camera:
            done = self._loaded.stream(camera)
        return {"offered": done.offered, "ages_ms": done.ages_ms, "told": done.told}

    @property
    def _loaded(self) -> Peer:
        if self._peer is None:
            raise PeerRefusedError("nothing was loaded")
        return self._peer

    def close(self) -> None:
        """Let go of the peer."""
        if self._peer is not None:
            self._peer.close()


def main() -> None:
    """Serve until stdin ends."""
    # Libraries write to stdout as they like: the answers go through a copy of it.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    entry = next(one for one in ENTRIES if one.shown == sys.argv[1])
    worker = Worker(entry, np.load(sys.argv[2]))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = getattr(worker, request.pop("do"))(**request)
        except NothingToRunError as wrong:
            reply = {"missing": str(wrong)}
        except Exception as wrong:  # whatever a peer raises is what it has to say
            kind = "" if isinstance(wrong, PeerRefusedError) else f"{type(wrong).__name__}: "
            reply = {"refused": kind + (str(wrong).strip().splitlines() or ["no words"])[0][:300]}
        print(json.dumps(reply), file=answers, flush=True)
    worker.close()


if __name__ == "__main__":
    main()
