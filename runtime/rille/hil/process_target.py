"""The device under test inside this process: the same source, pipeline and sinks as `rille run`."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from rille.budget import Budget
from rille.bundle import load_bundle
from rille.errors import RilleError
from rille.events import EventLog
from rille.hil.target import End, Target
from rille.pipeline import Pipeline
from rille.result import State
from rille.sinks import open_sink
from rille.sinks.fan import SinkFan
from rille.sources import open_source
from rille.sources.follow import SourceFollower

if TYPE_CHECKING:
    from rille.bundle import Bundle
    from rille.hil.target import Setup

_PATIENCE_S = 20.0


class ProcessTarget(Target):
    """Runs a pipeline over the bench's source in a thread.

    Args:
        setup: what to start it with.
    """

    kind = "process"

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._events = EventLog()
        self._pipeline: Pipeline | None = None
        self._problem: Exception | None = None
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._guarded, name="hil-device", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether it came to an end."""
        return not self._thread.is_alive()

    def stop(self) -> End:
        """End its stream, and wait for it."""
        stop_s = None
        if not self.ended:
            began = time.monotonic()
            self._asked.set()
            if self._pipeline is not None:
                self._pipeline.stop()
            self._thread.join(_PATIENCE_S)
            stop_s = time.monotonic() - began
        if self._problem is None:
            return End(code=None if self._thread.is_alive() else 0, stop_s=stop_s)
        code = getattr(self._problem, "exit_code", 1)
        return End(code=code, words=str(self._problem) or repr(self._problem), stop_s=stop_s)

    def _guarded(self) -> None:
        try:
            with contextlib.ExitStack() as stack:
                self._fly(stack)
        except Exception as wrong:  # whatever it is, the judge must hear of it
            self._problem = wrong

    def _fly(self, stack: contextlib.ExitStack) -> None:
        """Do what `rille run` does, as far as a thread can."""
        setup = self._setup
        source = stack.enter_context(open_source(setup.source))
        found: dict[str, Bundle] = {}
        for bundle in map(load_bundle, setup.bundles):
            segments = bundle.manifest.task == "segmentation"
            found["segment" if segments else "classify"] = bundle
        pipeline = Pipeline(
            classify=found.get("classify"),
            segment=found.get("segment"),
            budget=Budget(frame_ms=setup.scenario.budget_ms),
            events=self._events,
        )
        self._pipeline = stack.enter_context(pipeline)
        fan = SinkFan(self._events, lossless=False)
        stack.callback(fan.close, 1.0)
        for uri in setup.sinks:
            fan.add(open_sink(uri), uri)
        follower = stack.enter_context(SourceFollower(source, self._events))
        self._events.emit("RUN_STARTED", source.describe())
        problem: RilleError | None = None
        try:
            if not self._asked.is_set():
                for result in pipeline.stream(source, losses=True):
                    fan.write(result)
        except RilleError as wrong:
            problem = wrong
        follower.close()
        totals = pipeline.stats.totals
        self._events.emit(
            "RUN_ENDED",
            str(totals),
            error=str(problem or ""),
            captured=totals.captured,
            **{state.value: getattr(totals, state.value) for state in State},
        )
        if problem is not None:
            raise problem

    def close(self) -> None:
        """Stop it; safe to call twice."""
        if self._thread.is_alive():
            self.stop()
