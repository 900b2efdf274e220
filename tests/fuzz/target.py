"""What is fuzzed: one reader, what it is fed with, and what may come of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.mutate import spoilt


@dataclass(frozen=True, kw_only=True)
class Target:
    """One reader of things from outside.

    A feed that raises a `RilleError` refused its input; one that returns took it. Anything else,
    the end of the process or more than `LIMIT_S` included, is a failure.

    Attributes:
        name: what it is called.
        corpus: made in code; called with a folder for temporary files.
        prepare: called once with that folder; returns the function that is fed.
        spoil: makes an input of the corpus.
        share: of all inputs, in parts of the sum over all targets.
        sacrificial: whether its process may die: it stands for the child in which a network whose
            digest is not trusted yet is loaded first.
    """

    name: str
    corpus: Callable[[Path], Sequence[bytes]]
    prepare: Callable[[Path], Callable[[bytes], None]]
    spoil: Callable[[Sequence[bytes], random.Random], bytes] = spoilt
    share: int = 1
    sacrificial: bool = False


LIMIT_S = 5.0
"""What one input may take; more is a hang."""
