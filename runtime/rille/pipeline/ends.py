"""The results of frames that were never worked on, and the count of every frame's end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rille.result import Result, State

if TYPE_CHECKING:
    from rille.errors import FrameDecodeError
    from rille.events import EventLog
    from rille.frame import Frame
    from rille.stats import PipelineStats


class Ends:
    """Makes results of frames that got lost, and counts how each frame ended.

    Args:
        stats: where frames are counted.
        events: where late and failed frames are told of.
        frame_ms: age at which a frame is late.
    """

    def __init__(self, stats: PipelineStats, events: EventLog, frame_ms: float) -> None:
        self.stats = stats
        self._events = events
        self._frame_ms = frame_ms

    def dropped(
        self, frame: Frame, cause: str, readings_ns: dict[str, int] | None = None
    ) -> Result:
        """Return the end of a frame that was not worked on."""
        return Result(
            frame=frame,
            index=frame.index,
            state=State.DROPPED,
            captured_ns=frame.captured_ns,
            published_ns=time.monotonic_ns(),
            deadline_ms=self._frame_ms,
            cause=cause,
            readings_ns=readings_ns or {},
        )

    def unseen(
        self, index: int, state: State, *, cause: str | None = None, error: str | None = None
    ) -> Result:
        """Return the end of a frame whose pixels never got here."""
        now = time.monotonic_ns()
        return Result(
            frame=None,
            index=index,
            state=state,
            captured_ns=now,
            published_ns=now,
            deadline_ms=self._frame_ms,
            cause=cause,
            error=error,
        )

    def undecoded(self, wrong: FrameDecodeError) -> Result:
        """Return the end of a frame that could not be decoded."""
        return self.unseen(wrong.index, State.FAILED, error=str(wrong))

    def count(self, result: Result) -> Result:
        """Count the end of a frame, tell of it where it is not as it should be, and return it."""
        change = self.stats.end(result)
        if result.state is State.LATE:
            self._events.emit(
                "FRAME_LATE",
                f"frame {result.index} was published after {result.age_ms:.1f} ms",
                frame=result.index,
                age_ms=round(result.age_ms, 3),
            )
        elif result.state is State.FAILED:
            self._events.emit(
                "FRAME_FAILED",
                f"frame {result.index} failed: {result.error}",
                frame=result.index,
            )
        if change is not None:
            self._events.emit(
                "LEVEL_LOWERED" if change.lowered else "LEVEL_RAISED",
                f"{change.before} to {change.after} at frame {change.frame}: {change.reason}",
                frame=change.frame,
                before=change.before,
                after=change.after,
                reason=change.reason,
            )
        return result
