"""What a stage will cost, from what it cost lately, and when to try again after a shed."""

from __future__ import annotations

import statistics
from collections import deque

RECENT = 5
_RETURN_SHARE = 0.9
"""A stage that was shed comes back when it is predicted to take this share of the time left."""


class CostModel:
    """Predicts a cost as a high quantile of the last ones.

    A stage that is shed is no longer measured, so a prediction that was once too high would hold
    for ever. Three things bring it back: `probe`, a measurement outside any frame's deadline; what
    other stages say about the load (`ease`); and, after a number of sheds in a row without a probe,
    one trial, for which each that does not fit doubles the wait.

    Args:
        quantile: which quantile of the recent costs is the prediction, 0 to 1.
        window: how many recent costs count.
        first_wait: sheds, since the last probe, before the first trial.
        longest_wait: most sheds between two trials.
    """

    def __init__(
        self, quantile: float, window: int = 64, first_wait: int = 100, longest_wait: int = 400
    ) -> None:
        self._costs: deque[float] = deque(maxlen=window)
        self._probes: deque[float] = deque(maxlen=2)
        self._quantile = quantile
        self._first_wait, self._longest_wait = first_wait, longest_wait
        self._wait, self._sheds, self._sheds_then = first_wait, 0, 0
        self._doubtful = False

    @property
    def predicted_ms(self) -> float:
        """The predicted cost in milliseconds; 0 while nothing was measured."""
        if not self._costs:
            return 0.0
        ordered = sorted(self._costs)
        return ordered[min(len(ordered) - 1, int(self._quantile * len(ordered)))]

    @property
    def recent_ms(self) -> float:
        """The median of the last few costs in milliseconds; 0 while there are too few."""
        last = list(self._costs)[-RECENT:]
        return statistics.median(last) if len(last) == RECENT else 0.0

    @property
    def _best_ms(self) -> float:
        """The least of the last few costs in milliseconds; 0 while nothing was measured."""
        return min(list(self._costs)[-RECENT:], default=0.0)

    @property
    def sheds(self) -> int:
        """How many times in a row the stage was left out."""
        return self._sheds

    def admits(self, left_ms: float, ease: float = 1.0, vital: bool = False) -> bool:
        """Say whether the stage may start.

        Args:
            left_ms: milliseconds until the deadline.
            ease: what other stages cost now as a share of what they cost when this one was last
                measured, 0 to 1; below 1 where the load has gone.
            vital: whether nothing is published without it: then it is enough that it fitted lately.
        """
        if left_ms <= 0:
            return False
        believed = self._best_ms if vital else self.predicted_ms * ease
        if len(self._probes) == self._probes.maxlen:
            believed = min(believed, max(self._probes))
        if believed <= left_ms * (_RETURN_SHARE if self._sheds else 1.0):
            self._doubtful = self._sheds > 0
            return True
        self._sheds += 1
        self._doubtful = self._sheds - self._sheds_then > self._wait
        return self._doubtful

    def record(self, cost_ms: float, left_ms: float) -> None:
        """Take note of what the stage cost when it had `left_ms`."""
        if self._doubtful:
            fits = cost_ms <= left_ms
            self._wait = self._first_wait if fits else min(2 * self._wait, self._longest_wait)
            if fits:
                # The old costs belong to a load that is gone.
                self._costs.clear()
        self._sheds, self._sheds_then, self._doubtful = 0, 0, False
        self._probes.clear()
        self._costs.append(cost_ms)

    def probe(self, cost_ms: float) -> None:
        """Take note of what a stage that is shed costs now, measured outside any deadline."""
        self._probes.append(cost_ms)
        self._sheds_then = self._sheds
