"""The latency budget of a frame, and the account of every frame.

The deadline counts from capture to publication. Before a stage starts, its predicted cost (a high
quantile of what this device took lately, see `rille.cost`) is held against the time left.
"""

from __future__ import annotations

import threading
from collections import Counter
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
        keep_up: whether to segment more rarely where frames would get lost otherwise.
        max_watt: power that the board may take, where it can be read; 0 for no limit.
        track: whether features are followed into frames that are not segmented, where that fits.

    Raises:
        ConfigError: a number out of range.
    """

    frame_ms: float = 100.0
    quantile: float = 0.95
    margin_ms: float = 0.5
    keep_up: bool = False
    track: bool = False
    max_watt: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.frame_ms < 1e7:
            raise ConfigError(
                f"budget.frame_ms must be above 0 (milliseconds a frame may take), "
                f"not {self.frame_ms:g}"
            )
        if not 0 < self.quantile <= 1:
            raise ConfigError(f"budget.quantile must be above 0, at most 1, not {self.quantile:g}")
        if not 0 <= self.max_watt < 1e6:
            raise ConfigError(f"budget.max_watt must be at least 0, not {self.max_watt:g}")
        if not self.margin_ms >= 0:
            raise ConfigError(f"budget.margin_ms must be at least 0, not {self.margin_ms:g}")


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
