"""The contract of a sink, and how a URI becomes one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rille.errors import ConfigError
from rille.registry import Registry
from rille.result import Result

if TYPE_CHECKING:
    from rille.recording.facts import RunFacts

SINKS = Registry(
    kind="sink scheme",
    group="rille.sinks",
    known={
        "jsonl": "rille.sinks.jsonl:JsonLines",
        "mcap": "rille.sinks.mcap:RecordingSink",
        "video": "rille.sinks.video:AnnotatedVideo",
    },
)


class Sink(Protocol):
    """Takes every result of a stream, lost frames included."""

    def write(self, result: Result) -> None:
        """Take one result.

        Raises:
            SinkError: it cannot be written; what was written before stays usable.
        """
        ...

    def close(self) -> None:
        """Complete the output; safe to call twice.

        Raises:
            SinkError: it cannot be completed.
        """
        ...


@runtime_checkable
class KeepsRun(Protocol):
    """A sink that also keeps what is known of the run."""

    def about(self, facts: RunFacts) -> None:
        """Take it, before the first result.

        Raises:
            SinkError: it cannot be written.
        """
        ...


def open_sink(uri: str) -> Sink:
    """Open a sink by URI.

    Raises:
        ConfigError: no such scheme, or no path.
        SinkError: it cannot be written.
    """
    scheme, separator, target = uri.partition("://")
    if not separator or not target:
        raise ConfigError(f"{uri}: a sink looks like jsonl://results.jsonl")
    sink: Sink = SINKS.resolve(scheme, ConfigError)(Path(target))
    return sink
