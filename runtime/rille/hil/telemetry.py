"""What the device says: JSON datagrams of its `udp://` sink, each with the moment it came here."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rille.closing import Closing
from rille.errors import SourceError

_MOST = 2_000_000
_LARGEST = 4096
_WAIT_S = 0.1
_KERNEL_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Record:
    """One result or event.

    Attributes:
        received_ns: when it came, on the bench's monotonic clock.
        fields: what it says, as of `Result.to_json` or `Event.to_json`.
    """

    received_ns: int
    fields: Mapping[str, Any]

    @property
    def event(self) -> str:
        """The event's id; empty for a result."""
        return str(self.fields.get("event", ""))

    @property
    def number(self) -> int | None:
        """The bench's number of the frame, where the device could read it."""
        name = self.fields.get("name")
        if isinstance(name, str) and name.startswith("bench ") and name[6:].isdigit():
            return int(name[6:])
        return None

    @property
    def published(self) -> bool:
        """Whether it is a result that carries answers."""
        return self.fields.get("state") in ("ok", "late")


class Telemetry(Closing):
    """Listens to a device from the moment it is made; a context manager.

    Args:
        host, port: where to listen; port 0 takes a free one.
        peer: name or address of the only machine that is listened to; None for any.

    Attributes:
        port: where it listens.
        garbage: datagrams that were none of a device's.

    Raises:
        SourceError: the address is taken, or there is no such peer.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, peer: str | None = None) -> None:
        try:
            self._peer = None if peer is None else socket.gethostbyname(peer)
        except OSError:
            raise SourceError(f"telemetry: the host {peer} cannot be found") from None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BYTES)
            self._socket.bind((host, port))
        except OSError as wrong:
            self._socket.close()
            raise SourceError(
                f"telemetry {host}:{port}: cannot listen there ({wrong.strerror})"
            ) from None
        self._socket.settimeout(_WAIT_S)
        self.port: int = self._socket.getsockname()[1]
        self.garbage = 0
        self._records: list[Record] = []
        self._heard = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._listen, name="hil-telemetry", daemon=True)
        self._thread.start()

    @property
    def records(self) -> list[Record]:
        """Everything so far, in the order it came."""
        with self._heard:
            return list(self._records)

    def since(self, count: int) -> list[Record]:
        """Return what came after the first `count` records."""
        with self._heard:
            return self._records[count:]

    def wait_quiet(self, quiet_s: float, most_s: float) -> None:
        """Wait until nothing has come for `quiet_s`, at most `most_s`."""
        end = time.monotonic() + most_s
        with self._heard:
            while (left := end - time.monotonic()) > 0:
                if not self._heard.wait(min(quiet_s, left)):
                    return

    def _listen(self) -> None:
        while not self._ended:
            try:
                datagram, sender = self._socket.recvfrom(_LARGEST + 1)
            except TimeoutError:
                continue
            except OSError:
                return
            now = time.monotonic_ns()
            known = self._peer is None or sender[0] == self._peer
            fields = _understood(datagram) if known else None
            with self._heard:
                if fields is None or len(self._records) >= _MOST:
                    self.garbage += 1
                else:
                    self._records.append(Record(now, fields))
                    self._heard.notify_all()

    def close(self) -> None:
        """Stop listening; safe to call twice."""
        self._ended = True
        self._thread.join()
        self._socket.close()


def _understood(datagram: bytes) -> dict[str, Any] | None:
    """Return what a datagram says; None where it is no result or event."""
    if len(datagram) > _LARGEST:
        return None
    try:
        fields = json.loads(datagram)
    except (ValueError, RecursionError):
        return None
    known = isinstance(fields, dict) and isinstance(fields.get("seq"), int)
    return fields if known and ("event" in fields or "frame" in fields) else None
