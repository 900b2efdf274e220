"""The latency budget of a frame: what still fits, what is shed, and the account of every frame.

The deadline counts from capture to publication. Before a stage starts, its predicted cost (a high
quantile of what this device took lately) is held against the time left.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass

from rille.errors import ConfigError
from rille.result import State


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How much time a frame has.

    Attributes:
        frame_ms: age, in milliseconds from capture, at which a result is late; above 0.
        quantile: which quantile of a stage's recent costs predicts the next, 0 to 1.
        margin_ms: kept free for what follows the last stage.

    Raises:
        ConfigError: a number out of range.
    """

    frame_ms: float = 100.0
    quantile: float = 0.95
    margin_ms: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.frame_ms < 1e7:
            raise ConfigError(
                f"budget.frame_ms must be above 0 (milliseconds a frame may take), "
                f"not {self.frame_ms:g}"
            )
        if not 0 < self.quantile <= 1:
            raise ConfigError(f"budget.quantile must be above 0, at most 1, not {self.quantile:g}")
        if not self.margin_ms >= 0:
            raise ConfigError(f"budget.margin_ms must be at least 0, not {self.margin_ms:g}")


class CostModel:
    """Predicts what a stage will cost from what it cost lately, and when to try again.

    A stage that is shed is no longer measured, so a prediction that was once too high would hold
    for ever. After a number of sheds in a row one trial is admitted; each trial that still does
    not fit doubles the wait before the next.

    Args:
        quantile: which quantile of the recent costs is the prediction.
        window: how many recent costs count.
        first_wait: sheds before the first trial.
        longest_wait: most sheds between two trials.
    """

    def __init__(
        self, quantile: float, window: int = 64, first_wait: int = 8, longest_wait: int = 512
    ) -> None:
        self._costs: deque[float] = deque(maxlen=window)
        self._quantile = quantile
        self._first_wait, self._longest_wait = first_wait, longest_wait
        self._wait, self._sheds = first_wait, 0
        self._on_trial = False

    @property
    def predicted_ms(self) -> float:
        """The predicted cost in milliseconds; 0 while nothing was measured."""
        if not self._costs:
            return 0.0
        ordered = sorted(self._costs)
        return ordered[min(len(ordered) - 1, int(self._quantile * len(ordered)))]

    def admits(self, left_ms: float) -> bool:
        """Say whether the stage may start with `left_ms` until the deadline."""
        if left_ms <= 0:
            return False
        if self.predicted_ms <= left_ms:
            self._on_trial = False
            return True
        self._sheds += 1
        self._on_trial = self._sheds > self._wait
        return self._on_trial

    def record(self, cost_ms: float, left_ms: float) -> None:
        """Take note of what the stage cost when it had `left_ms`."""
        if self._on_trial:
            fits = cost_ms <= left_ms
            self._wait = self._first_wait if fits else min(2 * self._wait, self._longest_wait)
            if fits:
                # The old costs belong to a load that is gone.
                self._costs.clear()
        self._sheds, self._on_trial = 0, False
        self._costs.append(cost_ms)


class Account:
    """Where every captured frame went: captured == ok + late + dropped + failed.

    Counting is thread-safe: capture and publication run in different threads. A frame that was
    captured and is still being worked on is `in_flight`; at the end of a stream there is none.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._captured = 0
        self._ended: Counter[State] = Counter()
        self._causes: Counter[str] = Counter()
        self._shed: Counter[str] = Counter()

    def capture(self) -> None:
        """Count a captured frame."""
        with self._lock:
            self._captured += 1

    def end(self, state: State, cause: str | None = None, shed: tuple[str, ...] = ()) -> None:
        """Count the end of a captured frame.

        Args:
            state: how it ended.
            cause: why, if it was dropped.
            shed: stages left out.

        Raises:
            RuntimeError: more frames ended than were captured: a fault in rille itself.
        """
        with self._lock:
            if sum(self._ended.values()) >= self._captured:
                raise RuntimeError("a frame ended twice, or without having been captured")
            self._ended[state] += 1
            if cause is not None:
                self._causes[cause] += 1
            self._shed.update(shed)

    def totals(self) -> Totals:
        """Return the counts at this moment."""
        with self._lock:
            return Totals(
                captured=self._captured,
                ok=self._ended[State.OK],
                late=self._ended[State.LATE],
                dropped=self._ended[State.DROPPED],
                failed=self._ended[State.FAILED],
                causes=dict(self._causes),
                shed=dict(self._shed),
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """The account at one moment.

    Attributes:
        captured, ok, late, dropped, failed: frames.
        causes: cause -> dropped frames.
        shed: stage -> frames for which it was left out.
    """

    captured: int
    ok: int
    late: int
    dropped: int
    failed: int
    causes: dict[str, int]
    shed: dict[str, int]

    @property
    def in_flight(self) -> int:
        """Frames captured whose end is still to come."""
        return self.captured - self.ok - self.late - self.dropped - self.failed

    def __str__(self) -> str:
        causes = ", ".join(f"{cause} {n}" for cause, n in sorted(self.causes.items()))
        flight = f" + {self.in_flight} in flight" if self.in_flight else ""
        return (
            f"{self.captured} captured = {self.ok} ok + {self.late} late + {self.dropped} dropped"
            f"{f' ({causes})' if causes else ''} + {self.failed} failed{flight}"
        )
