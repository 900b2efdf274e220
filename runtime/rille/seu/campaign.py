"""Trials in a child process that may crash or hang: it is started anew behind each that did."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Any

from rille.bundle import load_bundle
from rille.errors import BackendError
from rille.seu.flips import Flip
from rille.seu.trial import Outcome, Trial

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_START_S = 120.0
_LIMIT_S = 30.0
"""What one trial may take; more is a hang."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What is tried.

    Attributes:
        bundle: name or path.
        variant: which of its networks.
        pictures: (H, W, 3) or (H, W) uint8.
    """

    bundle: str
    variant: str
    pictures: tuple[NDArray[np.uint8], ...]


def outcomes(
    subject: Subject, flips: Sequence[Flip], told: Callable[[int], None] = lambda done: None
) -> Iterator[Outcome]:
    """Try every flip, in order.

    Args:
        subject: the network.
        flips: what to try.
        told: called with the number of trials done.

    Raises:
        BackendError: not even the clean network runs in the child.
    """
    at = 0
    while at < len(flips):
        with _Child(subject, flips[at:]) as child:
            for outcome in child.outcomes():
                at += 1
                told(at)
                yield outcome


class _Child:
    """One child process over the flips that are left."""

    def __init__(self, subject: Subject, flips: Sequence[Flip]) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._left = len(flips)
        self._process: SpawnProcess = context.Process(
            target=_serve, args=(there, subject, tuple(flips)), daemon=True
        )
        self._process.start()
        there.close()

    def outcomes(self) -> Iterator[Outcome]:
        """Give what came of the flips until the child dies of one, that one included."""
        ready = self._hear(_START_S)
        if ready != "ready":
            raise BackendError(f"the clean network does not run: {ready or 'the process died'}")
        for _ in range(self._left):
            heard = self._hear(_LIMIT_S)
            if isinstance(heard, Outcome):
                yield heard
                continue
            self._process.join(1.0)
            yield Outcome(ended="hung" if self._process.is_alive() else "crashed")
            return

    def _hear(self, limit_s: float) -> Any:
        """Return what the child says; None where it says nothing any more."""
        try:
            return self._here.recv() if self._here.poll(limit_s) else None
        except (EOFError, OSError):
            return None

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.kill()
        self._process.join()
        self._here.close()


def _serve(there: Connection, subject: Subject, flips: tuple[Flip, ...]) -> None:
    """Run in the child: say "ready", then what came of each flip."""
    try:
        trial = Trial(load_bundle(subject.bundle), subject.variant, subject.pictures)
    except Exception as wrong:  # told to the parent, whatever it is
        there.send(str(wrong) or type(wrong).__name__)
        return
    there.send("ready")
    for flip in flips:
        there.send(trial.run(flip.apply(trial.model)))
