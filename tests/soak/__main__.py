"""`python -m tests.soak --frames 864000`: a day at ten frames a second, as fast as it goes.

Frames that cannot be decoded, engines that fail or answer wrongly, bits that flip in memory,
networks that are swapped, sinks that refuse: every frame must be accounted for, every fault made
good, and memory, threads and open files stay as they are. Ends with 1 where one of them does not.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tests.soak.faults import FaultyCamera, FaultySink

from rille.budget import Budget
from rille.bundle import load_bundle
from rille.defences import Defences
from rille.events import EventLog
from rille.pipeline import Pipeline
from rille.sim import Descent, build_scene
from rille.sinks import open_sink
from rille.sinks.fan import SinkFan

if TYPE_CHECKING:
    from numpy.typing import NDArray

BUNDLE = "moon-scene"
MOST_MB = 1.0
"""Resident memory gained in 100,000 frames after the first tenth."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the process took after so many frames."""

    frames: int
    resident_mb: float
    threads: int
    files: int


@dataclass(frozen=True, kw_only=True)
class Soak:
    """What came of a soak; `wrong` is empty where all is well."""

    frames: int
    seconds: float
    account: dict[str, int]
    injected: dict[str, int]
    events: dict[str, int]
    samples: list[Sample]
    mb_per_100k: float
    mb_per_100k_error: float
    wrong: list[str]


def soak(
    frames: int,
    pictures: Sequence[NDArray[np.uint8]],
    seed: int = 1,
    told: Callable[[Sample], None] = lambda sample: None,
) -> Soak:
    """Stream frames with faults; return what came of it."""
    events = EventLog()
    samples: list[Sample] = []
    every = max(200, frames // 100)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        fan = SinkFan(events, lossless=True)
        fan.add(open_sink(f"jsonl://{folder}/results.jsonl?max_mb=4&keep=2"), "jsonl")
        fan.add(FaultySink(seed), "faulty")
        with Pipeline(
            classify=load_bundle(BUNDLE),
            budget=Budget(frame_ms=600_000),
            threads=1,
            events=events,
            defences=Defences(rebuild_s=2.0, vote_needs=2, vote_of=3),
        ) as pipeline:
            camera = FaultyCamera(
                pictures,
                frames,
                lambda: pipeline.networks["classify"],
                lambda network: pipeline.swap("classify", network),
                seed,
            )
            for count, result in enumerate(pipeline.stream(camera, losses=True), 1):
                fan.write(result)
                if count % every == 0:
                    samples.append(_sample(count))
                    told(samples[-1])
            pipeline.networks["classify"].self_test()
            totals = pipeline.stats.totals
        fan.close()
        sinks = fan.counts()
    account = {name: getattr(totals, name) for name in _STATES}
    slope, error = _slope(samples, frames)
    wrong = [
        *_unaccounted(frames, account, camera.injected),
        *_gained(samples, slope, error, frames),
        *(
            f"sink {name}: {c.to_json()}"
            for name, c in sinks.items()
            if c.offered != c.written + c.dropped + c.failed or c.waiting
        ),
    ]
    return Soak(
        frames=frames,
        seconds=time.monotonic() - begin,
        account=account,
        injected=dict(camera.injected),
        events=dict(events.counts),
        samples=samples,
        mb_per_100k=slope,
        mb_per_100k_error=error,
        wrong=wrong,
    )


_STATES = ("captured", "ok", "late", "dropped", "failed")


def _sample(frames: int) -> Sample:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Sample(
        frames=frames,
        resident_mb=pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        threads=threading.active_count(),
        files=len(list(Path("/proc/self/fd").iterdir())),
    )


def _unaccounted(frames: int, account: dict[str, int], injected: dict[str, int]) -> list[str]:
    """Return what does not add up."""
    wrong = []
    if account["captured"] != frames or frames != sum(account[name] for name in _STATES[1:]):
        wrong.append(f"{frames} frames, and an account of {account}")
    least = injected.get("damaged", 0) + injected.get("failing", 0)
    if account["failed"] != least:
        wrong.append(f"{least} frames were spoilt, {account['failed']} failed")
    return wrong


def _slope(samples: Sequence[Sample], frames: int) -> tuple[float, float]:
    """Return megabytes gained in 100,000 frames after the first tenth, and the standard error."""
    late = [sample for sample in samples if sample.frames > frames // 10]
    if len(late) < 4:
        return 0.0, 0.0
    x = np.array([sample.frames / 1e5 for sample in late])
    y = np.array([sample.resident_mb for sample in late])
    (slope, _), residuals, *_ = np.polyfit(x, y, 1, full=True)
    spread = float(residuals[0]) if len(residuals) else 0.0
    error = (spread / (len(late) - 2) / ((x - x.mean()) ** 2).sum()) ** 0.5
    return float(slope), float(error)


def _gained(samples: Sequence[Sample], slope: float, error: float, frames: int) -> list[str]:
    """Return what grew; of few frames, less than the noise of memory is no growth."""
    late = [sample for sample in samples if sample.frames > frames // 10]
    wrong = []
    if slope - 2 * error > MOST_MB and (late[-1].resident_mb - late[0].resident_mb) > MOST_MB:
        wrong.append(f"memory grows by {slope:.2f} MB in 100,000 frames (error {error:.2f})")
    # The thread that builds engines anew comes with the first of them, within two seconds.
    for what in ("threads", "files"):
        counts = {getattr(sample, what) for sample in late[len(late) // 3 :]}
        if len(counts) > 1:
            wrong.append(f"{what}: {sorted(counts)}")
    return wrong


def main(words: Sequence[str] | None = None) -> int:
    """Run a soak and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--frames", type=int, default=864_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(words)
    descent = Descent(build_scene(7), 7, 320, 240, 8)
    pictures = [descent.frame(k)[0] for k in range(8)]
    found = soak(options.frames, pictures, options.seed, _told)
    if options.json:
        options.json.write_text(json.dumps(asdict(found), indent=1))
    print(f"{found.frames} frames in {found.seconds:.0f} s: {found.account}")
    print(f"faults: {found.injected}")
    print(f"events: {found.events}")
    last = found.samples[-1]
    print(
        f"memory {last.resident_mb:.1f} MB, {found.mb_per_100k:+.2f} MB in 100,000 frames "
        f"(standard error {found.mb_per_100k_error:.2f}); {last.threads} threads, "
        f"{last.files} open files"
    )
    for line in found.wrong:
        print(f"WRONG: {line}")
    return 1 if found.wrong else 0


def _told(sample: Sample) -> None:
    print(sample, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
