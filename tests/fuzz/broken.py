"""A reader that breaks in every way there is, to test the hunt for such readers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.target import Target
from tests.fuzz.worker import work

from rille.errors import SourceError


def _prepare(first: int) -> Callable[[bytes], None]:
    number = first - 1

    def feed(data: bytes) -> None:
        nonlocal number
        number += 1
        if number == 1:
            raise ZeroDivisionError
        if number == 2:
            os.kill(os.getpid(), signal.SIGSEGV)
        if number == 3:
            raise SourceError("refused")
        if number == 4:
            time.sleep(60)

    return feed


def break_on(name: str, seed: int, first: int, count: int, place: Path) -> None:
    """Work as `tests.fuzz.worker.work_on` does, on a reader that breaks."""
    target = Target(name=name, corpus=lambda folder: [b"x"], prepare=lambda folder: _prepare(first))
    work(target, seed, first, count, place)
