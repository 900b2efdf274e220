"""MJPEG over HTTP, as network cameras serve it, and what bad cameras and networks serve."""

from __future__ import annotations

import contextlib
import functools
import select
import socket
import struct
import threading
import time
import zlib
from typing import TYPE_CHECKING

import cv2

from rille.hil.link import Link, flapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rille.hil.feed import Outgoing
    from rille.hil.scenario import Fault

_QUALITY = 95
_BOUNDARY = b"--hil\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
_GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=hil\r\n\r\n"
_PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<h1>Camera</h1>"
_FEW = 4096
"""Bytes that the system keeps for a reader who does not read, so that frames cannot pile up."""
_BOMB_SIDE = 20000


class HttpLink(Link):
    """An MJPEG server on this machine.

    Readers get what is sent while they are connected. One that does not read in time is let go.

    Args:
        port: where it listens, on every address of this machine.
        fps: frames a second, for the device's first deadline.
    """

    lossless = False

    def __init__(self, port: int, fps: float) -> None:
        self.uri = f"http://127.0.0.1:{port}/video.mjpg#fps={fps:g}&barcode=1"
        self._port = port
        self._lock = threading.Lock()
        self._readers: list[socket.socket] = []
        self._faults: Sequence[Fault] = ()
        self._listener: socket.socket | None = None
        self._late: list[tuple[float, bytes]] = []
        self._listen()

    def _listen(self) -> None:
        """Accept readers from now on."""
        listener = socket.create_server(("", self._port), reuse_port=False)
        self._listener = listener
        threading.Thread(target=self._serve, args=(listener,), name="hil-http", daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                reader, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                reader.settimeout(2.0)
                _read_request(reader)
                page = any(fault.value == "page" for fault in self._faults)
                reader.sendall(_PAGE if page else _GOOD)
                if page:
                    reader.close()
                    continue
                reader.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    if self._listener is listener:
                        self._readers.append(reader)
                        continue
            reader.close()

    def look(self, faults: Sequence[Fault], at_s: float) -> None:
        """Refuse and hang up while the link is down; hang up where it begins to misbehave."""
        began = {id(fault) for fault in faults} - {id(fault) for fault in self._faults}
        self._faults = tuple(faults)
        down = flapped(faults, at_s)
        if down and self._listener is not None:
            self._hang_up()
        elif not down and self._listener is None:
            self._listen()
        if any(fault.value == "page" and id(fault) in began for fault in faults):
            self._drop_readers()

    def _hang_up(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._drop_readers()

    def _drop_readers(self) -> None:
        with self._lock:
            readers, self._readers = self._readers, []
        for reader in readers:
            reader.close()

    def send(self, frame: Outgoing, faults: Sequence[Fault]) -> str | None:
        """Send a frame to every reader; see `Link.send`."""
        picture = frame.pixels if frame.pixels.ndim == 2 else frame.pixels[:, :, ::-1]
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
        part, effect = _BOUNDARY % len(data) + data + b"\r\n", None
        spread_s = 0.0
        for fault in faults:
            if fault.type in ("off", "stuck") or fault.value in ("flaps", "page"):
                self._flush()
                return "free"
            if fault.type == "slow":
                spread_s = fault.amount
            elif fault.type == "delayed":
                self._late.append((time.monotonic() + fault.amount, part))
                part = b""
            else:
                part, effect = self._spoilt(fault, data)
        self._flush()
        if part:
            self._give(part, spread_s)
        return effect

    def _flush(self) -> None:
        """Send what was put off and is due."""
        now = time.monotonic()
        while self._late and self._late[0][0] <= now:
            self._give(self._late.pop(0)[1], 0.0)

    def _spoilt(self, fault: Fault, data: bytes) -> tuple[bytes, str]:
        """Return what a fault makes of a part, and what must come of the frame."""
        if fault.value == "bits":
            body = bytearray(data)
            body[len(body) // 3] ^= 0x04  # above the barcode, which takes the last tenth
            return _BOUNDARY % len(body) + bytes(body) + b"\r\n", "limit"
        if fault.value == "cut":
            body = bytearray(data[: len(data) // 2])
            return _BOUNDARY % len(body) + bytes(body) + b"\r\n", "refused"
        if fault.value == "bomb":
            bomb = image_bomb()
            return _BOUNDARY % len(bomb) + bomb + b"\r\n", "refused"
        return {
            "endless": b"--hil\r\nX: " + b"a" * 100_000,
            "huge": b"--hil\r\nContent-Length: 99999999999\r\n\r\n",
            "babble": b"nonsense\r\n" * 200,
        }[fault.value], "refused"

    def _give(self, part: bytes, spread_s: float) -> None:
        """Send bytes to every reader, in eight pieces over `spread_s`."""
        pieces = [part]
        if spread_s:
            size = -(-len(part) // 8)
            pieces = [part[k : k + size] for k in range(0, len(part), size)]
        for k, piece in enumerate(pieces):
            with self._lock:
                readers = list(self._readers)
            for reader in readers:
                try:
                    reader.sendall(piece)
                except OSError:
                    self._let_go(reader)
            if k + 1 < len(pieces):
                time.sleep(spread_s / len(pieces))

    def _let_go(self, reader: socket.socket) -> None:
        with self._lock:
            if reader in self._readers:
                self._readers.remove(reader)
        reader.close()

    def close(self) -> None:
        """Stop serving; safe to call twice."""
        self._hang_up()


def _read_request(reader: socket.socket) -> None:
    """Read a request's head, at most a few kilobytes of it."""
    text = b""
    while b"\r\n\r\n" not in text and len(text) < _FEW:
        if not select.select([reader], [], [], 2.0)[0]:
            return
        more = reader.recv(_FEW)
        if not more:
            return
        text += more


@functools.lru_cache(maxsize=1)
def image_bomb() -> bytes:
    """Return a small PNG whose picture, of one bit a pixel, unpacks to 400 MB."""
    head = struct.pack("!IIBBBBB", _BOMB_SIDE, _BOMB_SIDE, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(_BOMB_SIDE * (_BOMB_SIDE // 8 + 1)), 1)
    chunks = ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack("!I", len(body)) + name + body + struct.pack("!I", zlib.crc32(name + body))
        for name, body in chunks
    )
