"""What a pipeline did: the account, ages, costs by stage, operating levels."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from rille.budget import Account, Totals
from rille.latency import LatencyHistogram
from rille.levels import ORDER
from rille.result import Result, State

_SHOWN = {0.5: 1, 0.95: 20, 0.99: 100}
"""Percentile -> least number of frames from which it is shown."""


def shown(milliseconds: float) -> str:
    """Return a figure of the table as text; "-" for one that is not known."""
    return "-" if math.isnan(milliseconds) else f"{milliseconds:.2f}"


@dataclass(frozen=True, slots=True)
class LevelChange:
    """The operating level changed at a frame."""

    frame: int
    before: str
    after: str
    reason: str

    @property
    def lowered(self) -> bool:
        """Whether less is done than before."""
        return ORDER.index(self.after) > ORDER.index(self.before)


class PipelineStats:
    """Figures of one pipeline since it was made; `print` shows them as a table.

    Attributes:
        account: where every captured frame went.
        age: capture to publication of the published frames.
        stages: "classify infer" and the like -> time spent.
        levels: operating level -> published frames.
        changes: the first `MAX_CHANGES` changes of level.
        change_count: all of them.
        quality: flag -> published frames that carry it.
        scored: published frames with an out-of-distribution score.
        unfamiliar: those of them that are out of distribution.
    """

    MAX_CHANGES = 1000

    def __init__(self, frame_ms: float) -> None:
        self.frame_ms = frame_ms
        self.account = Account()
        self.age = LatencyHistogram()
        self.stages: dict[str, LatencyHistogram] = {}
        self.levels: Counter[str] = Counter()
        self.quality: Counter[str] = Counter()
        self.scored, self.unfamiliar = 0, 0
        self.changes: list[LevelChange] = []
        self.change_count = 0
        self._level: str | None = None

    def end(self, result: Result) -> LevelChange | None:
        """Count the end of a frame; return the change of level that it brought, if any."""
        self.account.end(result.state, result.cause, result.shed)
        for name, cost_ms in result.timings_ms.items():
            self.stages.setdefault(name, LatencyHistogram()).add(cost_ms)
        if not result.published:
            return None
        self.age.add(result.age_ms)
        self.levels[result.level] += 1
        self.quality.update(result.quality)
        answer = result.classification
        if answer is not None and answer.ood_score is not None:
            self.scored += 1
            self.unfamiliar += answer.out_of_distribution
        before, self._level = self._level, result.level
        if before is None or result.level == before:
            return None
        change = LevelChange(result.index, before, result.level, result.reason or "fits again")
        self.change_count += 1
        if len(self.changes) < self.MAX_CHANGES:
            self.changes.append(change)
        return change

    @property
    def totals(self) -> Totals:
        """The account at this moment."""
        return self.account.totals()

    def rows(self) -> list[tuple[str, int, float, float, float, float]]:
        """Return (name, n, p50, p95, p99, max) in milliseconds, stages first, then the age.

        A percentile that so few frames do not hold (p95 of under 20, p99 of under 100) is NaN.
        """
        table = {**self.stages, "age (capture to publication)": self.age}
        rows = []
        for name, h in table.items():
            p50, p95, p99 = (
                h.percentile(share) if h.count >= least else math.nan
                for share, least in _SHOWN.items()
            )
            rows.append((name, h.count, p50, p95, p99, h.max_ms))
        return rows

    def to_json(self) -> dict[str, Any]:
        """Return everything, for a results file."""
        totals = self.totals
        return {
            "budget_ms": self.frame_ms,
            "account": {state.value: getattr(totals, state.value) for state in State}
            | {"captured": totals.captured, "causes": totals.causes, "shed": totals.shed},
            "latency_ms": {
                name: {
                    "n": n,
                    **{
                        key: None if math.isnan(ms) else ms
                        for key, ms in zip(("p50", "p95", "p99", "max"), figures, strict=True)
                    },
                }
                for name, n, *figures in self.rows()
            },
            "levels": dict(self.levels),
            "quality": dict(self.quality),
            "out_of_distribution": {"scored": self.scored, "frames": self.unfamiliar},
            "level_changes": self.change_count,
        }

    def __str__(self) -> str:
        lines = [f"{'milliseconds':30s} {'n':>6s} {'p50':>8s} {'p95':>8s} {'p99':>8s} {'max':>8s}"]
        lines += [
            f"{name:30s} {n:6d} " + " ".join(f"{shown(ms):>8s}" for ms in figures)
            for name, n, *figures in self.rows()
        ]
        totals = self.totals
        lines.append(f"frames: {totals}")
        lines.append(
            "levels: "
            + (", ".join(f"{level} {n}" for level, n in self.levels.most_common()) or "none")
            + f"; {self.change_count} changes; budget {self.frame_ms:g} ms"
        )
        if self.quality:
            flags = ", ".join(f"{flag} {n}" for flag, n in self.quality.most_common())
            lines.append(f"quality: {flags}")
        if self.unfamiliar:
            lines.append(f"out of distribution: {self.unfamiliar} of {self.scored} classified")
        return "\n".join(lines)
