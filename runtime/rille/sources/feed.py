"""What the vehicle says while it drives: datagrams with the fields of `Vehicle` in JSON.

Whatever else comes is ignored and counted. The port is one of this machine unless the address says
otherwise, and `vehicle_peer` names the one address that is listened to. Datagrams are not signed:
on a network that others reach, use both.
"""

from __future__ import annotations

import json
import threading
import time

from rille.capture import VEHICLE
from rille.capture.udpraw import address_of, listen
from rille.errors import ConfigError, SourceError
from rille.schema import build
from rille.uri import SourceUri
from rille.vehicle import Vehicle

LARGEST = 4096
"""Bytes of a datagram."""
_MAX_AGE_S = 1.0
_WAIT_S = 0.1
_KERNEL_BYTES = 8192
"""So little that under a flood the newest datagram is read soon."""
_PAUSE_S = 0.0005


class VehicleFeed:
    """Listens for datagrams, and keeps the newest that can be read.

    Args:
        address: host and port of this machine.
        max_age_s: age from which what was heard is not known any more.
        peer: the only address that is listened to; None for any.

    Attributes:
        heard: datagrams that were understood.
        ignored: datagrams that were not, or came from others.

    Raises:
        SourceError: the address is taken, or none of this machine.
    """

    def __init__(
        self, address: tuple[str, int], max_age_s: float = _MAX_AGE_S, peer: str | None = None
    ) -> None:
        self.heard = self.ignored = 0
        self._max_age_ns, self._peer = round(max_age_s * 1e9), peer
        self._newest: tuple[int, Vehicle] | None = None
        self._socket = listen(address, _KERNEL_BYTES, f"vehicle=udp://{address[0]}:{address[1]}")
        self._socket.settimeout(_WAIT_S)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="rille-vehicle", daemon=True)
        self._thread.start()

    def newest(self, at_ns: int) -> Vehicle | None:
        """Return what was heard last, unless it is older than `max_age_s` at a monotonic time."""
        newest = self._newest
        if newest is None or at_ns - newest[0] > self._max_age_ns:
            return None
        return newest[1]

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                datagram, sender = self._socket.recvfrom(LARGEST + 1)
            except TimeoutError:
                continue
            except OSError:  # the network is down; it may return
                self._stop.wait(_WAIT_S)
                continue
            now = time.monotonic_ns()
            vehicle = None
            if self._peer is None or sender[0] == self._peer:
                vehicle = understand(datagram)
            if vehicle is None:
                self.ignored += 1
            else:
                self.heard += 1
                self._newest = (now, vehicle)
            self._stop.wait(_PAUSE_S)  # a flood costs no more than this leaves

    def close(self) -> None:
        """Stop listening; safe to call twice."""
        self._stop.set()
        self._thread.join()
        self._socket.close()


def understand(datagram: bytes) -> Vehicle | None:
    """Return what a datagram says, or None where it is not what it should be."""
    if len(datagram) > LARGEST:
        return None
    try:
        return build(Vehicle, json.loads(datagram), "vehicle", SourceError)
    except (ValueError, RecursionError, SourceError):
        return None


def feed_of(uri: SourceUri) -> VehicleFeed | None:
    """Start to listen to what a source's option `vehicle` names; None for 0, 1 or nothing.

    Raises:
        ConfigError: an option that does not fit.
        SourceError: see `VehicleFeed`.
    """
    max_age_s = uri.number("max_age_s", _MAX_AGE_S, 0.001, 86400) or _MAX_AGE_S
    asked = uri.options.get("vehicle", "1")
    if asked in ("0", "1"):
        for key in VEHICLE[1:]:
            if key in uri.options:
                raise ConfigError(f"{uri.text}: {key} needs vehicle=udp://HOST:PORT")
        return None
    if not asked.startswith("udp://"):
        raise ConfigError(
            f"{uri.text}: vehicle must be 0, 1 or like udp://127.0.0.1:5005, not {asked!r}"
        )
    return VehicleFeed(address_of(asked), max_age_s, uri.options.get("vehicle_peer"))
