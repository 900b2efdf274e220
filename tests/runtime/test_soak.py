"""A run that goes on and on: memory, threads and open files stay as they are.

RILLE_SOAK_FRAMES=100000 makes it a long one (about six minutes); `make soak` is a day of frames
with faults, of which a few hundred are run here.
"""

from __future__ import annotations

import gc
import os
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import pytest
from tests.soak.__main__ import soak

from rille.budget import Budget
from rille.bundle import load_bundle
from rille.events import EventLog
from rille.frame import Frame
from rille.pipeline import Pipeline
from rille.sinks import open_sink
from rille.sinks.fan import SinkFan

FRAMES = int(os.environ.get("RILLE_SOAK_FRAMES", "2000"))
WARM = max(500, FRAMES // 10)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_memory_threads_and_files_stay(descent: Any, tmp_path: Path) -> None:
    events = EventLog()
    fan = SinkFan(events, lossless=True)
    fan.add(open_sink(f"jsonl://{tmp_path / 'results.jsonl'}?max_mb=4&keep=2"), "jsonl")
    fan.add(open_sink("udp://127.0.0.1:9"), "udp")
    pictures = [descent.frame(k)[0] for k in range(4)]
    seen: dict[str, tuple[float, int, int]] = {}
    with Pipeline(
        classify=load_bundle("moon-scene"),
        budget=Budget(frame_ms=60_000),
        events=events,
    ) as pipeline:
        for index in range(FRAMES):
            frame = Frame(pixels=pictures[index % 4], index=index, captured_ns=time.monotonic_ns())
            fan.write(pipeline.run(frame))
            pipeline.worker.check_networks(busy=False)
            if index in (WARM, FRAMES - 1):
                gc.collect()
                when = "warm" if index == WARM else "end"
                seen[when] = (resident_mb(), threading.active_count(), open_files())
        t = pipeline.stats.totals
        assert t.ok == t.captured == FRAMES
    fan.close()
    warm, end = seen["warm"], seen["end"]
    assert end[1:] == warm[1:]
    assert end[0] - warm[0] < 1.0, f"{warm[0]:.2f} to {end[0]:.2f} MB in {FRAMES - WARM} frames"


def test_faults_are_made_good_and_every_frame_is_accounted_for(
    monkeypatch: pytest.MonkeyPatch, descent: Any
) -> None:
    for name, every in (("_SPOILT_EVERY", 400), ("_FLIP_EVERY", 450), ("_SWAP_EVERY", 500)):
        monkeypatch.setattr(f"tests.soak.faults.{name}", every)
    found = soak(900, [descent.frame(k)[0] for k in range(4)])
    assert not [line for line in found.wrong if not line.startswith(("threads", "memory"))]
    assert found.injected["swapped"] == 1 and found.injected["flipped"] == 2
    assert found.injected["spoilt"] == 2
    assert found.events.get("NETWORK_REBUILT", 0) + found.events["NETWORK_RENEWED"] >= 2
    assert found.account["captured"] == 900 and found.account["failed"] > 3


def test_no_frame_sized_memory_is_taken_for_a_frame(descent: Any) -> None:
    grey = descent.frame(0)[0]
    pixels = cv2.resize(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), (640, 480))
    with Pipeline(
        classify=load_bundle("moon-scene"),
        segment=load_bundle("moon-rocks"),
        budget=Budget(frame_ms=60_000),
    ) as pipeline:
        peaks = []
        tracemalloc.start()
        try:
            for index in range(12):
                before, _ = tracemalloc.get_traced_memory()
                tracemalloc.reset_peak()
                pipeline.run(Frame(pixels=pixels, index=index, captured_ns=time.monotonic_ns()))
                peaks.append(tracemalloc.get_traced_memory()[1] - before)
        finally:
            tracemalloc.stop()
    assert max(peaks[4:]) < 0.6 * pixels.nbytes
