"""Sending datagrams without ever waiting, for the sinks that use UDP."""

from __future__ import annotations

import contextlib
import socket

from rille.errors import SinkError

MAX_BYTES = 1400
"""Fits an Ethernet frame under IPv6, with room for a tunnel."""


class Datagrams:
    """A socket that sends to one address.

    Args:
        host, port: where to; a name is resolved once.
        shown: what to call it in errors.

    Raises:
        SinkError: the name does not resolve, or there is no way to the address.
    """

    def __init__(self, host: str, port: int, shown: str) -> None:
        self._shown = shown
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as wrong:
            why = getattr(wrong, "strerror", None) or "not a name of a host"
            raise SinkError(f"{shown}: the host {host} cannot be found: {why}") from None
        family, kind, protocol, _, address = found[0]
        self._socket = socket.socket(family, kind, protocol)
        self._socket.setblocking(False)
        try:
            # Connected, so that the system tells when nobody listens over there.
            self._socket.connect(address)
        except OSError as wrong:
            self.close()
            raise SinkError(f"{shown}: cannot be sent to: {wrong.strerror}") from None

    def send(self, data: bytes) -> None:
        """Hand one datagram to the system, at once or not at all.

        Raises:
            SinkError: it does not take it; or nobody listened to an earlier one.
        """
        try:
            self._socket.send(data)
        except ConnectionRefusedError:
            raise SinkError(f"{self._shown}: nobody listens there") from None
        except BlockingIOError:
            raise SinkError(f"{self._shown}: the network takes no more at the moment") from None
        except OSError as wrong:
            raise SinkError(f"{self._shown}: cannot be sent to: {wrong.strerror}") from None

    def close(self) -> None:
        """Close the socket; safe to call twice."""
        with contextlib.suppress(OSError):
            self._socket.close()
