"""One workload through every program: in turns, then each with a camera."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.page import say
from benchmarks.peers.agreement import Agreement, compare, reference_of, steady_answers
from benchmarks.peers.camera import Streamed
from benchmarks.peers.known import ENTRIES, Entry
from benchmarks.peers.litert_tool import ToolFigures, run_tool
from benchmarks.peers.peer import PeerRefusedError, Workload
from benchmarks.peers.remote import PeerMissingError, Remote, interpreter_for
from rille.latency import summary

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK, BLOCK_S = 10, 0.5
"""Frames in a program's turn, and about how long it may last."""
_TOOL_RUNS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How long and where.

    Attributes:
        frames: frames that count, for each program, one after the other.
        fps: the fixed rate of the camera.
        seconds: how long each camera runs; 0 for no cameras.
        other_python: interpreter of the environment that `make peers` makes.
        folder: for frames and logs.
        entries: who takes part.
    """

    frames: int
    fps: float
    seconds: float
    other_python: Path
    folder: Path
    entries: tuple[Entry, ...] = ENTRIES


@dataclass(kw_only=True, slots=True)
class PeerRun:
    """What one program did.

    Attributes:
        entry: the program.
        versions: of its libraries.
        how: its settings, for people.
        spent_ms: one frame after the other.
        agreement: how far its answers are the expected ones.
        fixed, overload: with a camera; None if it was not asked for, or the words of its refusal.
        overload_fps: twice what it can serve.
    """

    entry: Entry
    versions: dict[str, str]
    how: str
    spent_ms: list[float] = field(default_factory=list)
    agreement: Agreement | None = None
    fixed: Streamed | str | None = None
    overload: Streamed | str | None = None
    overload_fps: float = 0.0

    @property
    def figures(self) -> dict[str, Any]:
        """n, mean and percentiles of `spent_ms`."""
        return summary(self.spent_ms)


@dataclass(kw_only=True, slots=True)
class Comparison:
    """All programs on one workload.

    Attributes:
        workload: what was to be done.
        runs: of the programs that took part.
        missing: program -> why it could not be tried.
        refused: program -> why it could not do it.
        tool: stage -> what LiteRT's own tool says of the network alone, block after block.
    """

    workload: Workload
    runs: list[PeerRun] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    tool: dict[str, list[ToolFigures]] = field(default_factory=dict)


def compare_all(workload: Workload, pool: NDArray[np.uint8], settings: Settings) -> Comparison:
    """Run everything on one workload.

    Args:
        workload: the bundles.
        pool: (n, H, W, 3) RGB uint8, the frames.
        settings: how long and where.
    """
    found = Comparison(workload=workload)
    frames = settings.folder / "frames.npy"
    np.save(frames, pool)
    reference = reference_of(workload, pool)
    with contextlib.ExitStack() as stack:
        remotes = dict(_opened(workload, frames, settings, found, stack))
        known = {run.entry.shown: run for run in found.runs}
        digests: dict[str, list[int]] = {}
        for name, remote in remotes.items():
            digests[name] = _guarded(found, name, partial(_answers, remote, settings))
        timed = _in_turns(remotes, known, workload, settings, found)
        for name, run in known.items():
            if name not in found.refused:
                with np.load(settings.folder / f"{_file(name)}.npz") as said:
                    steady = steady_answers(digests[name], timed[name])
                    run.agreement = compare(reference, said["labels"], said["masks"], steady)
                _with_cameras(remotes[name], run, settings)
    found.runs = [run for run in found.runs if run.entry.shown not in found.refused]
    return found


def _opened(
    workload: Workload, frames: Path, settings: Settings, found: Comparison, stack: Any
) -> Iterator[tuple[str, Remote]]:
    """Start every program, and yield those that can do the work."""
    for entry in settings.entries:
        python = interpreter_for(entry, settings.other_python)
        log = settings.folder / f"{_file(entry.shown)}.log"
        remote = stack.enter_context(Remote(entry, frames, python, log))
        try:
            says = remote.ask("open", classify=workload.classify, segment=workload.segment)
        except PeerMissingError as why:
            found.missing[entry.shown] = str(why)
        except PeerRefusedError as why:
            found.refused[entry.shown] = str(why)
        else:
            found.runs.append(PeerRun(entry=entry, versions=says["versions"], how=says["how"]))
            yield entry.shown, remote
            continue
        why_not = found.missing.get(entry.shown) or found.refused[entry.shown]
        say(f"  {entry.shown}: left out: {why_not}")


def _answers(remote: Remote, settings: Settings) -> list[int]:
    path = settings.folder / f"{_file(remote.entry.shown)}.npz"
    digests: list[int] = remote.ask("answers", path=str(path))["digests"]
    return digests


def _guarded(found: Comparison, name: str, ask: Callable[[], Any]) -> Any:
    """Ask, and note a refusal; a program that refused once is asked no more."""
    if name in found.refused:
        return None
    try:
        return ask()
    except PeerRefusedError as why:
        found.refused[name] = str(why)
        return None


def _in_turns(
    remotes: dict[str, Remote],
    known: dict[str, PeerRun],
    workload: Workload,
    settings: Settings,
    found: Comparison,
) -> dict[str, list[tuple[int, int]]]:
    """Give each program its turns, in an order that rotates; return (frame, digest) by program."""
    timed: dict[str, list[tuple[int, int]]] = {name: [] for name in remotes}
    rounds = max(1, round(settings.frames / BLOCK))
    names = list(remotes)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            turns = {"first": turn * BLOCK, "count": BLOCK, "most_s": BLOCK_S}
            reply = _guarded(found, name, partial(remotes[name].ask, "block", **turns))
            if reply is not None:
                known[name].spent_ms += reply["spent_ms"]
                timed[name] += [(which, digest) for which, digest in reply["digests"]]
        if turn in {0, rounds // 2, rounds - 1}:
            _run_tools(workload, settings, found)
    return timed


def _run_tools(workload: Workload, settings: Settings, found: Comparison) -> None:
    """Run LiteRT's tool on each network with one thread and with two."""
    for stage, bundle in workload.bundles().items():
        _, variant = bundle.variant(target="tflite")
        model = settings.folder / f"{stage}.tflite"
        model.write_bytes(bundle.files[variant.file])
        for threads in (1, 2):
            name = f"{stage}, {threads} thread{'s' * (threads > 1)}"
            try:
                figures = run_tool(model, threads=threads, runs=_TOOL_RUNS)
            except PeerRefusedError as why:
                found.refused[f"litert-benchmark, {name}"] = str(why)
            else:
                found.tool.setdefault(name, []).append(figures)


def _with_cameras(remote: Remote, run: PeerRun, settings: Settings) -> None:
    """Run the fixed rate, then twice the rate that the program can serve."""
    if not (settings.seconds and run.entry.cameras):
        return
    run.fixed = _streamed(remote, settings.fps, settings.seconds)
    run.overload_fps = 2000.0 / float(np.median(run.spent_ms))
    run.overload = _streamed(remote, run.overload_fps, settings.seconds)


def _streamed(remote: Remote, fps: float, seconds: float) -> Streamed | str:
    try:
        said = remote.ask("stream", fps=fps, count=max(10, round(fps * seconds)))
    except PeerRefusedError as why:
        return str(why)
    return Streamed(offered=said["offered"], ages_ms=said["ages_ms"], told=said["told"])


def _file(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)
