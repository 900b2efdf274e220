"""Open loop: frames arrive at a fixed rate, whether or not anybody is ready for them.

Arrival times are fixed before the first frame. Ages count from those, not from the moment a frame
was taken, so a pipeline that is behind cannot make its figures better by asking later (coordinated
omission: Tene 2013).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rille.bench.answers import Answers
from rille.bench.watts import Watts
from rille.budget import Totals
from rille.errors import CheckFailedError
from rille.frame import Frame
from rille.latency import intervals, summary
from rille.result import State
from rille.sources.base import Source
from rille.uri import SourceUri

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rille.frame import Truth
    from rille.pipeline import Pipeline
    from rille.result import Result

_LOOK_EVERY = 8
"""Published frames between two whose answers are checked: the check takes the pipeline's time."""
_LEAD_NS = 20_000_000


class Arrivals(Source):
    """Frames whose capture times were fixed before the first.

    Args:
        frames: (H, W, 3) or (H, W) uint8, given in turn.
        fps: frames a second.
        count: how many arrive.
    """

    def __init__(self, frames: Sequence[NDArray[np.uint8]], fps: float, count: int) -> None:
        super().__init__(SourceUri("bench", "bench", "", {}), fps)
        self._frames, self._count, self._rate = frames, count, fps
        self._first_ns: int | None = None

    @property
    def length(self) -> int:
        """Number of frames in all."""
        return self._count

    def describe(self) -> str:
        """Return one line for people."""
        return f"{self._count} frames at {self._rate:g} a second"

    def read(self, timeout_s: float) -> Frame | None:
        """Return the frame that is due, or None if none is within `timeout_s`.

        One that is overdue comes at once, with the capture time it was to have.
        """
        if self.ended:
            return None
        if self._first_ns is None:
            self._first_ns = time.monotonic_ns() + _LEAD_NS
        index = self.index
        due_ns = self._first_ns + round(index * 1e9 / self._rate)
        wait_s = (due_ns - time.monotonic_ns()) / 1e9
        if wait_s > timeout_s:
            time.sleep(timeout_s)
            return None
        if wait_s > 0:
            time.sleep(wait_s)
        found = self._next()
        if found is None:
            self.ended = True
            return None
        self.index = index + 1
        self.ended = self.index == self._count
        return Frame(pixels=found[0], index=index, captured_ns=due_ns)

    def _next(self) -> tuple[NDArray[np.uint8], str, int | None, Truth | None] | None:
        if self.index >= self._count:
            return None
        return self._frames[self.index % len(self._frames)], "", None, None


@dataclass(frozen=True, kw_only=True)
class OpenResult:
    """What became of frames that arrived at a fixed rate; milliseconds, in order of publication.

    Attributes:
        fps: frames a second.
        totals: where every frame went.
        ages: scheduled capture to publication, of the published ones.
        waits: scheduled capture to the start of work on them.
        parts: stage and part -> durations.
        seconds: from the first arrival to the last end.
        watts: power and heat meanwhile.
        joules: energy of the whole board for each published frame; None where unknown.
    """

    fps: float
    totals: Totals
    ages: list[float] = field(repr=False)
    waits: list[float] = field(repr=False)
    parts: dict[str, list[float]] = field(repr=False)
    seconds: float
    watts: Mapping[str, Any]
    joules: float | None

    @property
    def misses(self) -> int:
        """Frames that had no answer in time, whatever the reason."""
        return self.totals.captured - self.totals.ok

    @property
    def series(self) -> dict[str, list[float]]:
        """What was measured by name, the age last."""
        return {
            **self.parts,
            "wait (capture to start)": self.waits,
            "age (capture to publication)": self.ages,
        }

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return name -> n, mean and percentiles."""
        return {name: summary(values) for name, values in self.series.items()}

    def to_json(self) -> dict[str, Any]:
        """Return everything but the single durations, for a results file."""
        totals = self.totals
        return {
            "fps": self.fps,
            "account": {state.value: getattr(totals, state.value) for state in State}
            | {"captured": totals.captured, "causes": totals.causes, "shed": totals.shed},
            "misses": self.misses,
            "seconds": self.seconds,
            "latency_ms": self.rows(),
            "intervals_95_ms": {name: intervals(values) for name, values in self.series.items()},
            "joules_per_frame": self.joules,
            "meanwhile": dict(self.watts),
        }


def run_open(
    pipeline: Pipeline,
    frames: Sequence[NDArray[np.uint8]],
    *,
    fps: float,
    count: int,
    answers: Answers,
) -> OpenResult:
    """Let frames arrive at a fixed rate at a pipeline's latest-frame slot.

    Args:
        pipeline: warm; its account goes on from where it is.
        frames: (H, W, 3) or (H, W) uint8, given in turn.
        fps: frames a second.
        count: how many arrive.
        answers: notes some of the answers.

    Raises:
        CheckFailedError: the account does not add up to what arrived.
    """
    ends: Counter[State] = Counter()
    causes: Counter[str] = Counter()
    shed: Counter[str] = Counter()
    ages: list[float] = []
    waits: list[float] = []
    parts: dict[str, list[float]] = {}
    with Watts() as watts:
        for result in pipeline.stream(Arrivals(frames, fps, count), losses=True):
            ends[result.state] += 1
            causes.update([result.cause] if result.cause else [])
            shed.update(result.shed)
            if not result.published:
                continue
            ages.append(result.age_ms)
            waits.append(_waited_ms(result))
            for name, spent in result.timings_ms.items():
                parts.setdefault(name, []).append(spent)
            if len(ages) % _LOOK_EVERY == 0:
                answers.note(result.index % len(frames), result)
    totals = Totals(
        captured=count,
        ok=ends[State.OK],
        late=ends[State.LATE],
        dropped=ends[State.DROPPED],
        failed=ends[State.FAILED],
        causes=dict(causes),
        shed=dict(shed),
    )
    if totals.in_flight:
        raise CheckFailedError(f"the account does not add up: {totals}; this is a fault in rille")
    published = len(ages)
    return OpenResult(
        fps=fps,
        totals=totals,
        ages=ages,
        waits=waits,
        parts=parts,
        seconds=watts.seconds,
        watts=watts.to_json(),
        joules=watts.joules_each(published),
    )


def _waited_ms(result: Result) -> float:
    return (result.readings_ns["begin"] - result.captured_ns) / 1e6
