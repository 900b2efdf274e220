"""Small recordings for tests: noise as frames, results by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rille.ellipse import Ellipse
from rille.events import Event, Severity
from rille.frame import Frame
from rille.preprocess import Resize
from rille.recording.facts import RunFacts
from rille.recording.write import RecordingWriter
from rille.result import Classification, Feature, Result, Segmentation, State

START_NS = 7_000_000_000
PERIOD_NS = 100_000_000


def noise(seed: int, colour: bool = True) -> np.ndarray[Any, np.dtype[np.uint8]]:
    shape = (24, 32, 3) if colour else (24, 32)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def worked(index: int, colour: bool = True, label: str = "plain") -> Result:
    """A published result over noise, with a crater in it and a mask that no other index has."""
    captured = START_NS + index * PERIOD_NS
    frame = Frame(
        pixels=noise(index, colour),
        index=index,
        captured_ns=captured,
        name=f"noise {index}",
        source_ns=index * 1000,
    )
    logits = np.array([index, -1.5], np.float32)
    return Result(
        frame=frame,
        index=index,
        state=State.OK,
        captured_ns=captured,
        published_ns=captured + 12_345_678,
        deadline_ms=100.0,
        level="full",
        classification=Classification(
            label=label,
            label_id=1,
            probability=0.75,
            entropy=0.5,
            abstained=False,
            probabilities=np.array([0.75, 0.25], np.float32),
            logits=logits,
        ),
        segmentation=Segmentation(
            mask=(np.random.default_rng(index).random((6, 8)) > 0.5).astype(np.uint8),
            geometry=Resize(width=8, height=6).geometry(32, 24),
            features=(Feature("crater", Ellipse(16, 12, 6, 4, 30.0), 0.8),),
            coverage=0.25,
            shares={"crater": 0.25},
        ),
        timings_ms={"segment infer": 4.0},
        bundles={"segment": "d" * 64},
        readings_ns={"start": captured + 1, "published": captured + 12_345_678},
    )


def unseen(index: int, state: State) -> Result:
    """A frame whose pixels never came."""
    captured = START_NS + index * PERIOD_NS
    return Result(
        frame=None,
        index=index,
        state=state,
        captured_ns=captured,
        published_ns=captured,
        deadline_ms=100.0,
        cause="missed" if state is State.DROPPED else None,
        error="damaged" if state is State.FAILED else None,
    )


def an_event(serial: int = 0) -> Event:
    return Event(
        id="FRAME_LATE",
        severity=Severity.WARNING_LO,
        serial=serial,
        at_ns=START_NS + serial,
        text="frame 3 was late",
        values={"frame": 3},
    )


def record(path: Path, results: list[Result], **options: Any) -> Path:
    """Write a recording with an event in it."""
    writer = RecordingWriter(path, **options)
    writer.about(
        RunFacts(config="[budget]\nframe_ms = 100.0\n", bundles={"segment": {"name": "x"}})
    )
    for result in results:
        writer.write(result)
    writer.event(an_event())
    writer.close()
    return path
