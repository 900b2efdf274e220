"""The contract of a sink, and how a URI becomes one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rille.errors import ConfigError
from rille.registry import Registry
from rille.uri import split_uri

if TYPE_CHECKING:
    from typing_extensions import Self

    from rille.events import Event
    from rille.recording.facts import RunFacts
    from rille.result import Result
    from rille.uri import SourceUri

SINKS = Registry(
    kind="sink scheme",
    group="rille.sinks",
    known={
        "jsonl": "rille.sinks.jsonl:JsonLines",
        "mcap": "rille.sinks.mcap:RecordingSink",
        "video": "rille.sinks.video:AnnotatedVideo",
        "prometheus": "rille.sinks.prometheus:PrometheusEndpoint",
        "udp": "rille.sinks.udp:UdpJson",
        "ccsds": "rille.sinks.ccsds:SpacePackets",
    },
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SinkCounts:
    """Where everything that was offered to a sink went, results and events alike.

    `offered == written + dropped + failed + waiting` at every moment.

    Attributes:
        offered: results and events it was given.
        written: those it took.
        dropped: those that made room for newer ones, or were abandoned at the end.
        failed: those it refused, or that came after it had given up for good.
        waiting: those in its buffer or in its hand.
    """

    offered: int
    written: int
    dropped: int
    failed: int
    waiting: int

    @property
    def whole(self) -> bool:
        """Whether nothing was lost."""
        return not self.dropped and not self.failed

    def to_json(self) -> dict[str, int]:
        """Return the numbers by name."""
        return asdict(self)

    def __str__(self) -> str:
        waiting = f" + {self.waiting} waiting" if self.waiting else ""
        return (
            f"{self.offered} offered = {self.written} written + {self.dropped} dropped + "
            f"{self.failed} failed{waiting}"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunView:
    """What a sink may ask about the run that it serves.

    Attributes:
        sinks: returns every sink's counts by name.
        events: event id -> events, those held back included.
    """

    sinks: Callable[[], Mapping[str, SinkCounts]]
    events: Mapping[str, int]


class Sink(ABC):
    """Takes every result of a stream, lost frames included, and the events of the run.

    In a run each sink has a thread of its own (`rille.sinks.buffered`), in which all its methods
    are called; only the constructor runs elsewhere.

    Attributes:
        takes_pixels: whether it looks at a frame's pixels; the others' buffers hold black ones, so
            that they take no memory.
        recovers: whether it can be written to again after an error, when some time has passed.
    """

    takes_pixels: bool = True
    recovers: bool = False

    @classmethod
    def from_uri(cls, uri: SourceUri) -> Self:
        """Make one from its URI; only a sink that has a scheme needs this.

        Raises:
            ConfigError: an option that is unknown or out of range.
            SinkError: it cannot be written.
        """
        raise ConfigError(f"{uri.shown}: this sink cannot be opened by a URI")

    @abstractmethod
    def write(self, result: Result) -> None:
        """Take one result.

        Raises:
            SinkError: it cannot be written; what was written before stays usable.
        """

    def event(self, event: Event) -> None:  # noqa: B027  (many sinks do not care for events)
        """Take one event.

        Raises:
            SinkError: as `write`.
        """

    def observe(self, run: RunView) -> None:  # noqa: B027
        """Take note of the run it belongs to; called once, before the first result."""

    def about(self, facts: RunFacts) -> None:  # noqa: B027
        """Keep what is known of the run; called by who opened it, before it is given anything.

        Raises:
            SinkError: as `write`.
        """

    def close(self) -> None:  # noqa: B027
        """Complete the output; safe to call twice.

        Raises:
            SinkError: it cannot be completed.
        """


def open_sink(uri: str) -> Sink:
    """Open a sink by URI, for example `jsonl://results.jsonl?max_mb=64` or `udp://10.0.0.2:5005`.

    Raises:
        ConfigError: no such scheme, no target, or an option that is unknown or out of range.
        SinkError: it cannot be written.
    """
    if not uri.partition("://")[2].partition("?")[0]:
        raise ConfigError(f"{uri}: a sink looks like jsonl://results.jsonl")
    if "#" in uri:
        raise ConfigError(f'{uri}: "#" means nothing here; in the name of a file write %23')
    parsed = split_uri(uri, network=())
    sink: Sink = SINKS.resolve(parsed.scheme, ConfigError).from_uri(parsed)
    return sink
