"""Telling when a stream shows, for some time, what its classifier was not made for."""

from __future__ import annotations

from collections import deque

from rille.events import EventLog
from rille.result import Classification

_FRAMES, _MOST, _FEW = 20, 15, 5
"""Of so many classified frames in a row so many begin it, and so few end it.

Were frames independent and one in ten flagged without a reason, 15 of 20 would come once in 10^11.
"""


class UnfamiliarWatch:
    """Counts the frames of one source that are out of distribution.

    Args:
        events: where to tell of SCENE_UNFAMILIAR and SCENE_FAMILIAR.
    """

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._last: deque[bool] = deque(maxlen=_FRAMES)
        self._unfamiliar = False

    def __call__(self, frame: int, answer: Classification | None) -> None:
        """Take the answer for a frame; None, or one without a score, says nothing."""
        if answer is None or answer.ood_score is None:
            return
        self._last.append(answer.out_of_distribution)
        count = sum(self._last)
        if self._unfamiliar and len(self._last) == _FRAMES and count <= _FEW:
            self._unfamiliar = False
            self._events.emit(
                "SCENE_FAMILIAR",
                f"{_FRAMES - count} of the last {_FRAMES} classified frames are of the kind that "
                "the network was made for",
                frame=frame,
                unfamiliar=count,
            )
        elif not self._unfamiliar and count >= _MOST:
            self._unfamiliar = True
            self._events.emit(
                "SCENE_UNFAMILIAR",
                f"{count} of the last {len(self._last)} classified frames are not of the kind that "
                f"the network was made for (score {answer.ood_score:.2f}, 1 is the limit): do not "
                "trust its labels",
                frame=frame,
                unfamiliar=count,
                score=round(answer.ood_score, 4),
            )
