"""Feeding one target in a process of its own, and noting when that dies or stops."""

from __future__ import annotations

import json
import multiprocessing
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.fuzz.target import LIMIT_S
from tests.fuzz.worker import PLACE, work_on

Work = Callable[[str, int, int, int, Path], None]
# Each process comes from one that has imported everything already: a start takes milliseconds.
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.fuzz.worker"])
_START_S = 120.0
_LOOK_S = 0.05


@dataclass
class Bag:
    """What came of one target.

    Attributes:
        inputs, refused, taken: inputs fed; those refused by a `RilleError`, and those accepted.
        deaths: index -> how the process ended.
        failures: index -> what was raised.
        spent_s: seconds, starting processes included.
    """

    name: str
    inputs: int = 0
    refused: int = 0
    taken: int = 0
    deaths: dict[int, str] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    spent_s: float = 0.0


def hunt(name: str, seed: int, first: int, count: int, work: Work = work_on) -> Bag:
    """Feed `count` inputs from number `first` on, going on behind each that ends the process.

    Args:
        name: of the target.
        seed: of all inputs.
        first, count: which inputs.
        work: what feeds them, in a process of its own.
    """
    bag, begin, index, end = Bag(name), time.monotonic(), first, first + count
    with tempfile.TemporaryDirectory() as folder:
        while index < end:
            index = _run(work, seed, index, end, Path(folder) / "place", bag)
    bag.inputs, bag.spent_s = count, time.monotonic() - begin
    return bag


def _run(work: Work, seed: int, first: int, end: int, place: Path, bag: Bag) -> int:
    """Run one process until it is done or ends otherwise; return the input to go on with."""
    for stale in place.parent.iterdir():
        stale.unlink()
    place.write_bytes(PLACE.pack(first, 0, 0))
    process = _SERVER.Process(target=work, args=(bag.name, seed, first, end - first, place))
    process.start()
    try:
        hung = _watch(process, place)
    finally:
        process.kill()
        process.join()
    found = place.with_suffix(".jsonl")
    for line in found.read_text().splitlines() if found.exists() else ():
        entry = json.loads(line)
        bag.failures[entry["index"]] = entry["what"]
    index, refused, taken = PLACE.unpack(place.read_bytes())
    bag.refused, bag.taken = bag.refused + refused, bag.taken + taken
    if index == end and not hung:
        return end
    bag.deaths[index] = f"no answer for {LIMIT_S:g} s" if hung else _how(process.exitcode, place)
    return int(index) + 1


def _watch(process: BaseProcess, place: Path) -> bool:
    """Wait for a process; return whether it was given up because it stood still."""
    since, before, started = time.monotonic(), place.read_bytes(), False
    while process.is_alive():
        process.join(_LOOK_S)
        now = place.read_bytes()
        started = started or now != before
        if now != before:
            since, before = time.monotonic(), now
        elif time.monotonic() - since > (LIMIT_S if started else _START_S):
            return process.is_alive()
    return False


def _how(code: int | None, place: Path) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    said = place.with_suffix(".said")
    tail = said.read_bytes()[-400:].decode(errors="replace") if said.exists() else ""
    return f"exit code {code}: {tail}"
