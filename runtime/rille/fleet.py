"""Several cameras in one process, each with a budget of its own, sharing the processor fairly.

The next turn goes to the camera whose frame waits and that has had the least work so far, each
weighed by its share: a fast camera cannot starve a slow one, and a slow network not a fast one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rille.closing import Closing
from rille.errors import ConfigError
from rille.pipeline import Pipeline
from rille.pipeline.flow import Flow, open_flow
from rille.pipeline.intake import POLL_S

if TYPE_CHECKING:
    from rille.result import Result
    from rille.sources import Source


class Fleet(Closing):
    """Runs several pipelines in turns, in the thread that asks for results.

    Use it as a context manager, or call `close`. Frames of a camera that waits for its turn grow
    old by the work on the others': their costs must fit into each budget beside its own.

    Args:
        pipelines: camera -> its pipeline.
        shares: camera -> how much of the processor it may have beside the others; 1 if not named.

    Attributes:
        pipelines: camera -> its pipeline.
        errors: camera -> why its source failed in the last stream.

    Raises:
        ConfigError: no pipeline, an unknown name, or a share that is not above 0.
    """

    def __init__(
        self, pipelines: Mapping[str, Pipeline], shares: Mapping[str, float] | None = None
    ) -> None:
        if not pipelines:
            raise ConfigError("a fleet needs at least one pipeline")
        self.pipelines = dict(pipelines)
        self._shares = dict.fromkeys(pipelines, 1.0) | dict(shares or {})
        for name, share in self._shares.items():
            if name not in self.pipelines:
                raise ConfigError(
                    f"shares: no camera {name!r} (there are: {', '.join(self.pipelines)})"
                )
            if not 0 < share < float("inf"):
                raise ConfigError(f"shares: {name} must be above 0, not {share:g}")
        self.errors: dict[str, Exception] = {}
        self._leaving: set[str] = set()
        # No event: setting one takes a lock, which a signal handler's own thread may hold.
        self._stopping = False
        self._heard = threading.Event()

    def stream(
        self, sources: Mapping[str, Source], *, losses: bool = False
    ) -> Iterator[tuple[str, Result]]:
        """Work on the frames of all sources until each has ended or `stop` is called.

        A source that fails ends alone; its error is raised when the others have ended.

        Args:
            sources: camera -> its source, open; one for each pipeline.
            losses: also yield the frames that were dropped or failed.

        Yields:
            (camera, result); of one camera in the order of its frames.

        Raises:
            ConfigError: the names are not those of the pipelines.
            SourceError: the first of the sources that failed, after all have ended.
            CheckFailedError: see `Pipeline.stream`.
        """
        if set(sources) != set(self.pipelines):
            raise ConfigError(
                f"sources are named {', '.join(sorted(sources))}, "
                f"pipelines {', '.join(sorted(self.pipelines))}"
            )
        self._stopping = False
        self._leaving.clear()
        flows = {
            name: open_flow(source, self.pipelines[name].worker, self._heard.set)
            for name, source in sources.items()
        }
        try:
            for name, result in self._turns(flows):
                if losses or result.published:
                    yield name, result
        finally:
            rest = [(name, result) for name, flow in flows.items() for result in flow.finish()]
            self.errors = {n: flow.error for n, flow in flows.items() if flow.error is not None}
        if losses:
            yield from rest
        for error in self.errors.values():
            raise error

    def _turns(self, flows: Mapping[str, Flow]) -> Iterator[tuple[str, Result]]:
        """Give turns until nothing more will come."""
        had = dict.fromkeys(flows, 0.0)
        while not self._stopping:
            self._heard.clear()
            for name in sorted(self._leaving):
                yield from ((name, result) for result in flows[name].finish())
            self._leaving.clear()
            going = {name: flow for name, flow in flows.items() if not flow.finished}
            if not going:
                return
            ready = [name for name, flow in going.items() if flow.ready]
            if not ready:
                self._heard.wait(POLL_S)
                continue
            name = min(ready, key=lambda one: had[one])
            # Who has nothing to do has no claim later on the time that passes now.
            had |= {other: max(had[other], had[name]) for other in going if other not in ready}
            begin = time.monotonic_ns()
            for result in going[name].turn(0.0 if len(going) > 1 else POLL_S):
                yield name, result
            had[name] += (time.monotonic_ns() - begin) / self._shares[name]

    def stop(self) -> None:
        """End the running stream after the frame in hand, or within 0.1 s where there is none.

        May be called from a signal handler.
        """
        self._stopping = True

    def leave(self, name: str) -> None:
        """Let the running stream go on without a camera."""
        self._leaving.add(name)

    def close(self) -> None:
        """Free all networks."""
        self.stop()
        for pipeline in self.pipelines.values():
            pipeline.close()
