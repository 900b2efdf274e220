"""`udp://HOST:PORT`: one JSON datagram a result or event, of at most 1400 bytes.

`seq` numbers the datagrams from 0, so that a receiver sees what the network lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rille.sinks.base import Sink
from rille.sinks.datagrams import MAX_BYTES, Datagrams
from rille.sinks.jsonl import event_record, json_bytes

if TYPE_CHECKING:
    from typing_extensions import Self

    from rille.events import Event
    from rille.result import Result
    from rille.uri import SourceUri

_ALWAYS = ("seq", "frame", "state", "captured_ns", "published_ns", "age_ms", "deadline_ms", "level")
"""Keys of a result that are never left out."""
_TEXT = 100
"""Characters of a long text that are kept; in JSON each takes up to six bytes."""


class UdpJson(Sink):
    """Sends results and events as JSON; see the module's description.

    Args:
        host, port: where to.

    Raises:
        SinkError: the name does not resolve, or there is no way to the address.
    """

    takes_pixels = False
    recovers = True

    def __init__(self, host: str, port: int) -> None:
        shown = f"udp://[{host}]:{port}" if ":" in host else f"udp://{host}:{port}"
        self._link = Datagrams(host, port, shown)
        self._next = 0

    @classmethod
    def from_uri(cls, uri: SourceUri) -> Self:
        """Make one from its URI; see `Sink.from_uri`."""
        uri.check_options([])
        return cls(*uri.host_port())

    def write(self, result: Result) -> None:
        """Send one result; features that do not fit are left out, and `truncated` counts them.

        Raises:
            SinkError: it could not be sent; it still has a number, so the receiver sees a gap.
        """
        self._send(fitted({"seq": self._next, **result.to_json()}))

    def event(self, event: Event) -> None:
        """Send one event, with a shorter text and without values where it does not fit.

        Raises:
            SinkError: as `write`.
        """
        record = {"seq": self._next, **event_record(event)}
        data = json_bytes(record)
        if len(data) > MAX_BYTES:
            record["text"] = _start(record["text"])
            record["values"] = {}
            data = json_bytes({**record, "truncated": 1})
        self._send(data)

    def close(self) -> None:
        """Close the socket."""
        self._link.close()

    def _send(self, data: bytes) -> None:
        self._next += 1
        self._link.send(data)


def fitted(record: dict[str, Any], limit: int = MAX_BYTES) -> bytes:
    """Return a result's record as JSON of at most `limit` bytes.

    Features are left out from the least certain on and counted in `truncated`; where that is not
    enough, whole keys are, the longest first, named in `left_out`.

    Args:
        record: as of `Result.to_json`; not changed.
        limit: bytes, at least 600.
    """
    data = json_bytes(record)
    if len(data) <= limit:
        return data
    record = dict(record)
    segmentation = record.get("segmentation")
    if segmentation is not None:
        features = segmentation["features"]
        record["segmentation"] = {**segmentation, "features": []}
        record["truncated"] = len(features)  # has as many digits as any smaller number, or more
        room = limit - len(json_bytes(record))
        kept = 0
        for feature in features:
            room -= len(json_bytes(feature)) + 1
            if room < 0:
                break
            kept += 1
        record["segmentation"]["features"] = features[:kept]
        record["truncated"] = len(features) - kept
    if record.get("error"):
        record["error"] = _start(record["error"])
    return _without_keys(record, limit)


def _start(text: str) -> str:
    """Return the first 100 characters of a text, or fewer: at most 200 bytes as JSON."""
    kept = text[:_TEXT]
    while len(json_bytes({"": kept})) > 2 * _TEXT:  # what is not ASCII takes up to 12 bytes each
        kept = kept[:-1]
    return kept


def _without_keys(record: dict[str, Any], limit: int) -> bytes:
    """Return the record as JSON without its longest keys, if need be."""
    keys = [key for key in record if key not in (*_ALWAYS, "truncated", "error", "cause")]
    keys.sort(key=lambda key: len(json_bytes({key: record[key]})))
    left_out: list[str] = []
    while len(data := json_bytes(record)) > limit and keys:
        left_out.append(keys.pop())
        del record[left_out[-1]]
        record["left_out"] = left_out
    return data
