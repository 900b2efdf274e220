"""The flow: newest frame -> stages that still fit the budget -> result, every frame accounted for.

Frames of a real-time source come through a slot of depth one, filled by a capture thread; frames
of a recording without a rate are read one by one, when the last is done.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from rille.budget import Budget, CostModel
from rille.bundle import Bundle
from rille.errors import ConfigError, FrameDecodeError, InferenceError
from rille.network import Network
from rille.quality import QualityCheck
from rille.result import Classification, Result, Segmentation, State
from rille.slot import LatestSlot
from rille.stats import PipelineStats
from rille.watch import GoldenWatch

if TYPE_CHECKING:
    from rille.frame import Frame
    from rille.sources import Source

_POLL_S = 0.1
_LEVELS = {"classify": "classify-only", "segment": "segment-only"}


@dataclass(frozen=True, slots=True)
class _Stage:
    name: str
    network: Network
    cost: CostModel


def default_threads() -> int:
    """Return the threads for one inference: the usable cores less one for capture, 1 to 4.

    More threads than free cores make the tail of the latency several times longer.
    """
    return max(1, min(4, len(os.sched_getaffinity(0)) - 1))


class Pipeline:
    """Runs one or two networks over frames within a latency budget.

    Use it as a context manager, or call `close`. One stream at a time; not thread-safe.

    Args:
        classify: a classification or multilabel bundle (or a loaded network), or None.
        segment: a segmentation bundle (or a loaded network), or None.
        budget: the time each frame has.
        backend: name of the inference engine.
        threads: threads for one inference; None for `default_threads()`.
        check_every: frames between two golden images in flight; 0 for none. See
            `rille.watch.GoldenWatch`.

    Raises:
        ConfigError: neither bundle is given, or one does another task.
        BundleError: a network is not what its manifest states.
        BackendError: the engine cannot be used.
        CheckFailedError: a bundle's golden image comes out different on this machine.
    """

    def __init__(
        self,
        *,
        classify: Bundle | Network | None = None,
        segment: Bundle | Network | None = None,
        budget: Budget | None = None,
        backend: str = "",
        threads: int | None = None,
        check_every: int = 250,
    ) -> None:
        self.budget = budget or Budget()
        self.stats = PipelineStats(self.budget.frame_ms)
        self._stop = threading.Event()
        self._quality = QualityCheck()
        self._stages: list[_Stage] = []
        threads = threads or default_threads()
        for name, tasks, source in (
            ("classify", ("classification", "multilabel"), classify),
            ("segment", ("segmentation",), segment),
        ):
            if source is None:
                continue
            contract = source.manifest if isinstance(source, Bundle) else source.contract
            if contract.task not in tasks:
                raise ConfigError(
                    f"{name}: bundle {contract.name} does {contract.task}, not {tasks[0]}"
                )
            network = (
                Network.load(source, backend=backend, threads=threads)
                if isinstance(source, Bundle)
                else source
            )
            self._stages.append(_Stage(name, network, CostModel(self.budget.quantile)))
        if not self._stages:
            raise ConfigError("a pipeline needs a bundle to classify or to segment with, or both")
        for stage in self._stages:
            # Golden images also take the first, slow inference out of the stream.
            stage.network.self_test()
        self.watch = GoldenWatch(self.networks, check_every)
        self._digests = {
            s.name: s.network.bundle.digest for s in self._stages if s.network.bundle is not None
        }

    @property
    def networks(self) -> dict[str, Network]:
        """Stage name -> the network that runs there."""
        return {stage.name: stage.network for stage in self._stages}

    def run(self, frame: Frame) -> Result:
        """Work on one frame, the same way as in a stream, and account for it."""
        self.stats.account.capture()
        return self._finish(self._work(frame))

    def stream(self, source: Source, *, losses: bool = False) -> Iterator[Result]:
        """Work on the frames of a source until it ends or `stop` is called.

        Args:
            source: an open source.
            losses: also yield the frames that were dropped or failed; every captured frame is
                then yielded exactly once.

        Yields:
            Results that were published (state ok or late), and with `losses` the others.

        Raises:
            SourceError: the source failed as a whole; frames so far are accounted for.
            CheckFailedError: a network no longer gives its golden answers, and building it anew
                did not help.
        """
        self._stop.clear()
        self._quality = QualityCheck()  # what was seen of another source tells nothing of this one
        results = self._live(source) if source.realtime else self._on_demand(source)
        for result in results:
            if losses or result.published:
                yield result

    def stop(self) -> None:
        """End the running stream after the frame in hand; may be called from a signal handler."""
        self._stop.set()

    def close(self) -> None:
        """Free the networks."""
        self.stop()
        for stage in self._stages:
            stage.network.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _on_demand(self, source: Source) -> Iterator[Result]:
        """Read a frame, work on it, read the next: nothing is ever dropped."""
        while not self._stop.is_set():
            try:
                frame = source.read(_POLL_S)
            except FrameDecodeError as wrong:
                self.stats.account.capture()
                yield self._finish(self._undecoded(wrong))
                continue
            if frame is None:
                if source.ended:
                    return
                continue
            self.stats.account.capture()
            yield self._finish(self._guarded(frame))
            self.watch.look(busy=False)

    def _live(self, source: Source) -> Iterator[Result]:
        """Take the newest frame from the capture thread's slot; older ones are dropped."""
        capture = _Capture(source, self)
        capture.start()
        try:
            while True:
                # Asked before the slot is looked into: what came last is then in it.
                last = capture.done.is_set()
                frame = capture.slot.take(0.0 if last else _POLL_S)
                result = None if frame is None else self._finish(self._guarded(frame))
                # What was lost before this frame comes before it, where it is known by now.
                while capture.lost and (result is None or capture.lost[0].index < result.index):
                    yield self._finish(capture.lost.popleft())
                if result is not None:
                    yield result
                    self.watch.look(busy=capture.slot.filled)
                if self._stop.is_set() or (frame is None and last):
                    break
        finally:
            leftover = capture.finish()
            if leftover is not None:
                capture.lost.append(self._dropped(leftover, "shutdown"))
            capture.lost = deque(sorted(capture.lost, key=lambda result: result.index))
            for result in capture.lost:
                self._finish(result)
            rest, capture.lost = list(capture.lost), deque()
        yield from rest
        if capture.error is not None:
            raise capture.error

    def _guarded(self, frame: Frame) -> Result:
        """Work on a frame; an interrupt in the middle still leaves it accounted for."""
        try:
            return self._work(frame)
        except BaseException:
            self._finish(self._dropped(frame, "shutdown"))
            raise

    def _work(self, frame: Frame) -> Result:
        """Run the stages that fit."""
        deadline_ns = frame.captured_ns + round(self.budget.frame_ms * 1e6)
        if time.monotonic_ns() >= deadline_ns:
            return self._dropped(frame, "expired")
        self.watch.frame()
        quality = self._quality(frame.pixels)
        answers: dict[str, Classification | Segmentation] = {}
        shed: list[str] = []
        timings: dict[str, float] = {}
        error: str | None = None
        for stage in self._stages:
            left_ms = (deadline_ns - time.monotonic_ns()) / 1e6 - self.budget.margin_ms
            if not stage.cost.admits(left_ms):
                shed.append(stage.name)
                continue
            try:
                answer, times = stage.network.run(frame.pixels)
            except InferenceError as wrong:
                error = f"{stage.name}: {wrong}"
                continue
            stage.cost.record(times.total_ms, left_ms)
            answers[stage.name] = answer
            timings[f"{stage.name} preprocess"] = times.preprocess_ms
            timings[f"{stage.name} infer"] = times.infer_ms
            timings[f"{stage.name} postprocess"] = times.postprocess_ms
        classification, segmentation = answers.get("classify"), answers.get("segment")
        published_ns = time.monotonic_ns()
        state = State.OK if published_ns <= deadline_ns else State.LATE
        return Result(
            frame=frame,
            index=frame.index,
            state=State.FAILED if error else state,
            captured_ns=frame.captured_ns,
            published_ns=published_ns,
            deadline_ms=self.budget.frame_ms,
            level=self._level(shed),
            classification=classification if isinstance(classification, Classification) else None,
            segmentation=segmentation if isinstance(segmentation, Segmentation) else None,
            shed=tuple(shed),
            timings_ms=timings,
            error=error,
            bundles=self._digests,
            quality=quality,
        )

    def _level(self, shed: list[str]) -> str:
        if not shed:
            return "full"
        left = [stage.name for stage in self._stages if stage.name not in shed]
        return _LEVELS[left[0]] if left else "capture-only"

    def _dropped(self, frame: Frame, cause: str) -> Result:
        return Result(
            frame=frame,
            index=frame.index,
            state=State.DROPPED,
            captured_ns=frame.captured_ns,
            published_ns=time.monotonic_ns(),
            deadline_ms=self.budget.frame_ms,
            cause=cause,
        )

    def _unseen(
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
            deadline_ms=self.budget.frame_ms,
            cause=cause,
            error=error,
        )

    def _undecoded(self, wrong: FrameDecodeError) -> Result:
        return self._unseen(wrong.index, State.FAILED, error=str(wrong))

    def _finish(self, result: Result) -> Result:
        self.stats.end(result)
        return result


class _Capture(threading.Thread):
    """Reads a source into a slot until it ends; what the slot loses waits in `lost`.

    Attributes:
        slot: holds the newest frame.
        lost: results of frames that were overwritten or undecodable, oldest first.
        done: set when no more frames will come.
        error: why the source failed, if it did.
    """

    def __init__(self, source: Source, pipeline: Pipeline) -> None:
        super().__init__(name="rille-capture", daemon=True)
        self.slot: LatestSlot[Frame] = LatestSlot()
        self.lost: deque[Result] = deque()
        self.done = threading.Event()
        self.error: Exception | None = None
        self._source = source
        self._pipeline = pipeline
        self._next_index = source.index

    def run(self) -> None:
        """Read until the end of the source, an error, or `finish`."""
        try:
            while not self.slot.closed:
                self._read_one()
                if self._source.ended:
                    return
        except Exception as wrong:  # whatever ends the thread must end the stream, loudly
            self.error = wrong
        finally:
            self.done.set()

    def _read_one(self) -> None:
        account = self._pipeline.stats.account
        try:
            frame = self._source.read(_POLL_S)
        except FrameDecodeError as wrong:
            account.capture()
            self.lost.append(self._pipeline._undecoded(wrong))
            self._next_index = max(self._next_index, wrong.index + 1)
            return
        if frame is None:
            return
        # What a camera captured and replaced before anybody took it leaves a gap in the indices.
        for index in range(self._next_index, frame.index):
            account.capture()
            self.lost.append(self._pipeline._unseen(index, State.DROPPED, cause="missed"))
        self._next_index = frame.index + 1
        account.capture()
        replaced = self.slot.put(frame)
        if replaced is not None:
            cause = "shutdown" if replaced is frame else "superseded"
            self.lost.append(self._pipeline._dropped(replaced, cause))

    def finish(self) -> Frame | None:
        """Stop reading, wait for the thread, and return the frame nobody took."""
        leftover = self.slot.close()
        self.join()
        return leftover
