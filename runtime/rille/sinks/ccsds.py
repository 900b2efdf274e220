"""`ccsds://HOST:PORT` and `ccsds:///path/file`: space packets by UDP or end to end in a file.

Options: `apid` of results (default 100), `event_apid` (default the one after it).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rille.errors import ConfigError, SinkError
from rille.files import RecordFile
from rille.sinks.base import Sink
from rille.sinks.datagrams import Datagrams
from rille.sinks.packets import (
    LAST_APID,
    SEQUENCE_COUNTS,
    event_packet,
    library,
    result_packet,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from rille.events import Event
    from rille.result import Result
    from rille.uri import SourceUri

_APID = 100


class SpacePackets(Sink):
    """Sends or writes results and events as packets; see `rille.sinks.packets`.

    Args:
        way: where to: a file that grows by records, or datagrams.
        apid, event_apid: application identifiers of results and of events, 0 to 2046.

    Raises:
        SinkError: the package that builds packets is not installed.
    """

    takes_pixels = False
    recovers = True

    def __init__(
        self, way: RecordFile | Datagrams, apid: int = _APID, event_apid: int = _APID + 1
    ) -> None:
        library(SinkError)
        self._way = way
        self._give: Callable[[bytes], None] = way.write if isinstance(way, RecordFile) else way.send
        self._apid, self._event_apid = apid, event_apid
        self._sequence = {apid: 0, event_apid: 0}

    @classmethod
    def from_uri(cls, uri: SourceUri) -> Self:
        """Make one from its URI; see `Sink.from_uri`."""
        uri.check_options(["apid", "event_apid"])
        apid = uri.whole("apid", _APID, 0, LAST_APID)
        event_apid = uri.whole("event_apid", min(apid + 1, LAST_APID), 0, LAST_APID)
        if apid == event_apid:
            raise ConfigError(f"{uri.text}: apid and event_apid must differ; both are {apid}")
        library(SinkError)  # before a file is made or replaced
        if uri.target.startswith("/"):
            return cls(RecordFile(Path(uri.target)), apid, event_apid)
        return cls(Datagrams(*uri.host_port(), uri.text), apid, event_apid)

    def write(self, result: Result) -> None:
        """Send or write one result.

        Raises:
            SinkError: it could not be; its number is used up, so the receiver sees a gap.
        """
        self._give(result_packet(result, self._apid, self._take(self._apid)))

    def event(self, event: Event) -> None:
        """Send or write one event.

        Raises:
            SinkError: as `write`.
        """
        self._give(event_packet(event, self._event_apid, self._take(self._event_apid)))

    def close(self) -> None:
        """Bring the file to the disk, or close the socket.

        Raises:
            SinkError: the disk refuses.
        """
        self._way.close()

    def _take(self, apid: int) -> int:
        """Return the next sequence count of an application; it begins anew after 16383."""
        count = self._sequence[apid]
        self._sequence[apid] = (count + 1) % SEQUENCE_COUNTS
        return count
