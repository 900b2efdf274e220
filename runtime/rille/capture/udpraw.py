"""`udpraw://HOST:PORT?size=640x480&format=gray`: raw frames in datagrams; see `chunks`.

Options besides those of every live source: `size`, `format` (gray or rgb), `peer` (the one address
that is listened to). Without `peer`, the first sender is listened to until it is silent for a
second. A lost datagram costs its frame; at high rates raise `net.core.rmem_max`, which bounds what
the kernel keeps.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rille.capture import WATCHED
from rille.capture.chunks import HEAD, LARGEST, USUAL, Assembler, Shape, cut
from rille.closing import Closing
from rille.errors import ConfigError, SourceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rille.capture.shot import Shot
    from rille.uri import SourceUri

_SIZE = (640, 480)
_CHANNELS = {"gray": 1, "rgb": 3}
_KERNEL_BYTES = 16 * 1024 * 1024
_QUIET_S = 0.25
_PEER_S = 1.0
_GROUP = 16


def check(uri: SourceUri) -> None:
    """Refuse options that are not known or out of range.

    Raises:
        ConfigError: names the option.
    """
    uri.check_options([*WATCHED, "size", "format", "peer"])
    uri.size(_SIZE)
    if uri.options.get("format", "gray") not in _CHANNELS:
        raise ConfigError(f"{uri.shown}: format must be {' or '.join(_CHANNELS)}")
    address_of(uri.text)


def address_of(text: str) -> tuple[str, int]:
    """Return host and port of an address like `udpraw://:5600`; no host means every interface.

    Raises:
        ConfigError: no port in it.
    """
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        port = None
    if not port:
        raise ConfigError(f"{text}: needs a port, as in {parts.scheme}://127.0.0.1:5600")
    return parts.hostname or "0.0.0.0", port


def listen(address: tuple[str, int], kernel_bytes: int, shown: str) -> socket.socket:
    """Return a bound socket for datagrams.

    Args:
        address: host and port.
        kernel_bytes: what the kernel is asked to keep of datagrams that nobody took yet.
        shown: what to call it in an error.

    Raises:
        SourceError: the address is taken, or none of this machine.
    """
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, kernel_bytes)
        made.bind(address)
    except OSError as wrong:
        made.close()
        raise SourceError(f"{shown}: cannot listen there ({wrong.strerror or wrong})") from None
    return made


def read(uri: SourceUri) -> Iterator[Shot]:
    """Give the frames that come, for ever.

    Raises:
        SourceError: the address is taken, or frames of another size come.
    """
    width, height = uri.size(_SIZE)
    shape = Shape(height, width, _CHANNELS[uri.options.get("format", "gray")])
    with contextlib.closing(listen(address_of(uri.text), _KERNEL_BYTES, uri.shown)) as heard:
        heard.settimeout(_QUIET_S)
        yield from _frames(heard, Assembler(shape), uri)


def _frames(heard: socket.socket, assembler: Assembler, uri: SourceUri) -> Iterator[Shot]:
    only, peer, peer_ns = uri.options.get("peer"), None, 0
    datagram = bytearray(HEAD.size + LARGEST + 1)
    while True:
        try:
            count, sender = heard.recvfrom_into(datagram)
        except TimeoutError:
            yield from assembler.flush()
            continue
        now = time.monotonic_ns()
        if only is not None and sender[0] != only:
            continue
        if sender != peer:
            if peer is not None and now - peer_ns < _PEER_S * 1e9:
                continue
            peer = sender
        refused = assembler.refused
        yield from assembler.put(memoryview(datagram)[:count])
        if assembler.refused == refused:
            peer_ns = now  # one who sends other things does not keep the place
        elif assembler.wrong_shape and now - peer_ns > _QUIET_S * 1e9:
            # One spoilt head among good ones is no reason to hang up.
            width, height = uri.size(_SIZE)
            raise SourceError(
                f"{uri.shown}: frames of {assembler.wrong_shape} come, asked for are "
                f"{width} x {height}, {uri.options.get('format', 'gray')}"
            )


class RawSender(Closing):
    """Sends frames to `udpraw://`. Use it as a context manager.

    Args:
        host, port: where to.
        payload: bytes of pixels in each datagram.
        spread_ms: time over which a frame's datagrams are spread, so that the other side's kernel
            need not keep a whole frame.
    """

    def __init__(self, host: str, port: int, payload: int = USUAL, spread_ms: float = 4.0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._address = (host, port)
        self._payload, self._spread_ms = payload, spread_ms
        self.number = 0

    def send(self, pixels: NDArray[np.uint8], source_ns: int | None = None) -> None:
        """Send a frame, (H, W, 3) RGB or (H, W) grey, uint8."""
        datagrams = list(cut(pixels, self.number, source_ns, self._payload))
        self.number += 1
        start, groups = time.monotonic_ns(), -(-len(datagrams) // _GROUP)
        for k in range(groups):
            for datagram in datagrams[k * _GROUP : (k + 1) * _GROUP]:
                self._socket.sendto(datagram, self._address)
            due_ns = start + self._spread_ms * 1e6 * (k + 1) / groups
            left_s = (due_ns - time.monotonic_ns()) / 1e9
            if left_s > 0 and k + 1 < groups:
                time.sleep(left_s)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
