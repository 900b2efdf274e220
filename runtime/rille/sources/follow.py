"""What happens to a source, told of as events of the run as it happens."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from rille.closing import Closing
from rille.events import KINDS

if TYPE_CHECKING:
    from typing_extensions import Self

    from rille.events import EventLog
    from rille.sources.base import Source, SourceEvent

_LOOK_S = 0.1


class SourceFollower(Closing):
    """Looks at a source's events ten times a second and emits the new ones; a context manager.

    It has a thread of its own, because a source that stalls gives no frames to look between.

    Args:
        source: an open source.
        events: where they are told of.
    """

    def __init__(self, source: Source, events: EventLog) -> None:
        self._source, self._events = source, events
        self._last: SourceEvent | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="rille-follow", daemon=True)

    def start(self) -> None:
        """Begin to look; `close` ends it."""
        self._thread.start()

    def close(self) -> None:
        """Look for the last time; safe to call twice."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._look()

    def __enter__(self) -> Self:
        self.start()
        return self

    def _follow(self) -> None:
        while not self._stop.wait(_LOOK_S):
            self._look()

    def _look(self) -> None:
        """Emit what came since the last look; the source keeps its last 1000."""
        seen = self._source.events.copy()
        new: list[SourceEvent] = []
        while seen and seen[-1] is not self._last:
            new.append(seen.pop())
        for event in reversed(new):
            self._last = event
            name = f"SOURCE_{event.kind.upper()}"
            self._events.emit(
                name if name in KINDS else "SOURCE_TROUBLE",
                f"{self._source.uri.shown}: {event.kind}: {event.text}",
                source=self._source.uri.shown,
                source_at_ns=event.at_ns,
            )
