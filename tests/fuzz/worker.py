"""The process in which inputs are fed; the one that started it sees whether it lives and goes on.

It tells by a file of 24 bytes that both map: the number of the input in hand, how many were
refused, how many were taken. Each failure is a line of JSON in another file.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import struct
import tempfile
import traceback
from pathlib import Path

from tests.fuzz.catalogue import TARGETS
from tests.fuzz.target import Target

from rille.errors import RilleError

PLACE = struct.Struct("<QQQ")


def dice_for(seed: int, target: str, index: int) -> random.Random:
    """Return the dice of one input: it can be made again from its number alone."""
    return random.Random(f"{seed}/{target}/{index}")


def work(target: Target, seed: int, first: int, count: int, place: Path) -> None:
    """Feed inputs, one after the other.

    Args:
        target: what is fed.
        seed: of all inputs.
        first: number of the first one.
        count: how many.
        place: of the file that tells how far it is; failures go to the one beside it.
    """
    refused = taken = 0
    found = place.with_suffix(".jsonl")
    with tempfile.TemporaryDirectory(dir=_quick_folder()) as name, place.open("r+b") as file:
        shared = mmap.mmap(file.fileno(), PLACE.size)
        corpus, feed = target.corpus(Path(name)), target.prepare(Path(name))
        for index in range(first, first + count):
            shared[:] = PLACE.pack(index, refused, taken)
            data = target.spoil(corpus, dice_for(seed, target.name, index))
            try:
                feed(data)
            except RilleError:
                refused += 1
            except Exception:
                what = {"index": index, "what": traceback.format_exc(limit=-4)}
                with found.open("a") as lines:
                    lines.write(json.dumps(what) + "\n")
            else:
                taken += 1
        shared[:] = PLACE.pack(first + count, refused, taken)


def work_on(name: str, seed: int, first: int, count: int, place: Path) -> None:
    """Feed one of the known targets, with what libraries say put into a file."""
    with place.with_suffix(".said").open("wb") as said:
        os.dup2(said.fileno(), 2)
    work(TARGETS[name], seed, first, count, place)


def _quick_folder() -> str | None:
    """Return a folder in memory, where there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
