"""One benchmark, as bench.json tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rille.bench.arrivals import OpenResult
from rille.bench.baseline import Change
from rille.bench.closed import SHORT_FRAMES, SHORT_S, ClosedResult
from rille.bench.cold import ColdStart
from rille.bench.machine import Machine, Moment
from rille.bench.repeats import Repeats
from rille.bench.soak import Soak

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class BenchRecord:
    """Everything that was measured.

    Attributes:
        command: what was asked for.
        machine: where; `before` and `after`: how it was.
        identity: what must be the same in two runs that are compared.
        closed: the closed loop.
        stages: its parts beside their references, as JSON.
        repeats: frames seen twice.
        open: frames at a fixed rate, if asked for.
        cold: fresh processes.
        soak: minutes on end, if asked for.
        baseline: what it was compared with; "" for nothing.
        changes: what came of that.
    """

    command: str
    machine: Machine
    before: Moment
    after: Moment
    identity: dict[str, Any]
    closed: ClosedResult
    stages: dict[str, Any]
    repeats: Repeats
    open: OpenResult | None = None
    cold: Sequence[ColdStart] = ()
    soak: Soak | None = None
    baseline: str = ""
    changes: Sequence[Change] = ()

    @property
    def open_short(self) -> bool:
        """Whether so few frames arrived, or for so short a time, that the tail means little."""
        found = self.open
        return found is not None and (
            found.totals.captured < SHORT_FRAMES or found.seconds < SHORT_S
        )

    @property
    def soak_short(self) -> bool:
        """Whether the soak was too short to show heat."""
        soak = self.soak
        return soak is not None and len(soak.minutes) * soak.minute_s < SHORT_S

    @property
    def slower(self) -> list[Change]:
        """What became slower than the baseline."""
        return [change for change in self.changes if change.slower]

    def to_json(self) -> dict[str, Any]:
        """Return everything but the single durations, for a results file."""
        return {
            "format": FORMAT,
            "command": self.command,
            "identity": self.identity,
            "machine": self.machine.to_json(),
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            **self.closed.to_json(),
            "stages": self.stages,
            "repeats": self.repeats.to_json(),
            "open": self.open and {**self.open.to_json(), "short_run": self.open_short},
            "cold": [start.to_json() for start in self.cold],
            "soak": self.soak and {**self.soak.to_json(), "short_run": self.soak_short},
            "baseline": self.baseline,
            "changes": [change.to_json() for change in self.changes],
        }
