"""The contract of a sink, and how a URI becomes one."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from rille.errors import ConfigError
from rille.registry import Registry
from rille.result import Result

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
