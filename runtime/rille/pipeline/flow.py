"""One source on its way through a pipeline, turn by turn, so that several can take turns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rille.errors import FrameDecodeError
from rille.pipeline.intake import Intake
from rille.pipeline.worker import Worker
from rille.result import Result

if TYPE_CHECKING:
    from rille.sources import Source


class Flow(ABC):
    """A source on its way through a pipeline.

    Attributes:
        ready: whether a frame waits to be worked on.
        finished: whether no more will come.
    """

    finished = False

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether a frame waits to be worked on."""

    @abstractmethod
    def turn(self, timeout_s: float) -> Iterator[Result]:
        """Work on the newest frame, waiting for one up to `timeout_s`.

        Yields:
            First what was lost before it, then its result; what is done between frames is done
            when more is asked for.
        """

    @abstractmethod
    def finish(self) -> list[Result]:
        """Stop, and return the ends of frames that were captured and not worked on, counted.

        Safe to call twice.
        """

    @property
    def error(self) -> Exception | None:
        """Why the source failed, if it did."""
        return None


def open_flow(source: Source, worker: Worker, heard: Callable[[], None] | None = None) -> Flow:
    """Begin with a source.

    Args:
        source: open.
        worker: works on its frames.
        heard: called from another thread when a frame of a real-time source has come.
    """
    worker.begin()
    return _LiveFlow(source, worker, heard) if source.realtime else _RecordedFlow(source, worker)


class _RecordedFlow(Flow):
    """Reads a frame, works on it, reads the next: nothing is ever dropped."""

    def __init__(self, source: Source, worker: Worker) -> None:
        self._source, self._worker = source, worker

    @property
    def ready(self) -> bool:
        return not self.finished

    def turn(self, timeout_s: float) -> Iterator[Result]:
        ends = self._worker.ends
        try:
            frame = self._source.read(timeout_s)
        except FrameDecodeError as wrong:
            ends.stats.account.capture()
            yield ends.count(ends.undecoded(wrong))
            return
        if frame is None:
            self.finished = self._source.ended
            return
        ends.stats.account.capture()
        yield self._worker.guarded(frame)
        self._worker.check_networks(busy=False)
        self._worker.course.look_again()

    def finish(self) -> list[Result]:
        self.finished = True
        return []


class _LiveFlow(Flow):
    """Takes the newest frame from a capture thread's slot; older ones are dropped."""

    def __init__(self, source: Source, worker: Worker, heard: Callable[[], None] | None) -> None:
        self._worker = worker
        self._intake = Intake(source, worker.ends, heard)
        self._intake.start()

    @property
    def ready(self) -> bool:
        return self._intake.slot.filled or self._intake.done.is_set()

    @property
    def error(self) -> Exception | None:
        return self._intake.error

    def turn(self, timeout_s: float) -> Iterator[Result]:
        intake, worker = self._intake, self._worker
        # Asked before the slot is looked into: what came last is then in it.
        last = intake.done.is_set()
        frame = intake.slot.take(0.0 if last else timeout_s)
        result = None if frame is None else worker.guarded(frame)
        # What was lost before this frame comes before it, where it is known by now.
        while intake.lost and (result is None or intake.lost[0].index < result.index):
            worker.course.lost += 1
            yield worker.ends.count(intake.lost.popleft())
        if result is not None:
            yield result
            worker.between(result, busy=intake.slot.filled)
        self.finished = frame is None and last

    def finish(self) -> list[Result]:
        self.finished = True
        intake, ends = self._intake, self._worker.ends
        leftover = intake.finish()
        if leftover is not None:
            intake.lost.append(ends.dropped(leftover, "shutdown"))
        rest = sorted(intake.lost, key=lambda result: result.index)
        intake.lost = deque()
        return [ends.count(result) for result in rest]
