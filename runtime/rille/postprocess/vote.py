"""A label that only changes when several of the last answers agree."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace

from rille.result import Classification


class LabelVote:
    """Holds the label before until `needs` of the last `of` answers give another one.

    Answers that abstained have no vote, and pass as they are.

    Args:
        needs: how many must agree, more than half of `of`.
        of: answers looked at.
    """

    def __init__(self, needs: int, of: int) -> None:
        if not 0 < needs <= of < 2 * needs:
            raise ValueError(f"needs more than half of {of} votes, not {needs}")
        self._needs = needs
        self._last: deque[tuple[str, int]] = deque(maxlen=of)
        self._held: Classification | None = None

    def __call__(self, answer: Classification) -> Classification:
        """Take an answer; return it, or the one that stands, with the probability it has now."""
        if answer.abstained:
            return answer
        key = (answer.label, answer.label_id)
        self._last.append(key)
        (most, count), *_ = Counter(self._last).most_common(1)
        if self._held is None or (most == key and count >= self._needs):
            self._held = answer
        held = self._held
        if (held.label, held.label_id) == key:
            self._held = answer
            return answer
        return replace(
            answer,
            label=held.label,
            label_id=held.label_id,
            probability=_now(held, answer),
            present=held.present,
        )


def _now(held: Classification, answer: Classification) -> float:
    """Return the probability that an answer gives to the label that is held."""
    if not answer.labels:
        return float(answer.probabilities[int(held.probabilities.argmax())])
    return min(p if name in held.present else 1 - p for name, p in answer.labels.items())
