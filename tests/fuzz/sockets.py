"""Peers on a network: a camera that serves nonsense, and clients of the metrics page."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
from tests.fuzz.target import Target
from tests.runtime.recorded import noise

from rille.capture import mjpeg
from rille.sinks.text_server import TextServer
from rille.uri import split_uri

Feed = Callable[[bytes], None]
_MOST_SHOTS = 50


def _stream(folder: Path) -> Sequence[bytes]:
    picture = cv2.imencode(".jpg", noise(1))[1].tobytes()
    head = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
    length = b"Content-Length: %d\r\n" % len(picture)
    part = b"--frame\r\nContent-Type: image/jpeg\r\n"
    return [
        head + (part + length + b"\r\n" + picture + b"\r\n") * 2,
        head + (part + b"\r\n" + picture + b"\r\n") * 2,
        b"HTTP/1.1 401 No\r\n\r\n",
    ]


def _client(folder: Path) -> Feed:
    """Feed the reader of MJPEG streams by a server that sends the input and hangs up."""
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    waiting: list[bytes] = []

    def serve() -> None:
        while True:
            peer, _ = server.accept()
            with peer:
                peer.settimeout(2.0)
                try:
                    peer.recv(65536)
                    peer.sendall(waiting[0])
                except OSError:
                    pass  # it hung up on what it refused

    threading.Thread(target=serve, daemon=True).start()

    def feed(data: bytes) -> None:
        waiting[:] = [data]
        shots = mjpeg.read(split_uri(f"http://127.0.0.1:{port}/video"))
        for _, shot in zip(range(_MOST_SHOTS), shots, strict=False):
            assert shot.pixels is not None or shot.fault

    return feed


def _server(folder: Path) -> Feed:
    page = TextServer("127.0.0.1", 0, lambda: "rille_up 1\n", public=False)

    def feed(data: bytes) -> None:
        with socket.create_connection(("127.0.0.1", page.port), 4.0) as client:
            heard = b""
            try:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                while more := client.recv(65536):
                    heard += more
            except ConnectionError:
                return  # what is too long is answered before it was all read
        status = re.match(rb"HTTP/1\.1 (\d{3}) [A-Z]", heard)
        assert status is not None, heard[:80]
        assert (status[1] == b"200") == heard.endswith(b"\r\n\r\nrille_up 1\n"), heard[:200]

    return feed


_REQUESTS = (
    b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9464\r\nAccept: */*\r\n\r\n",
    b"GET /metrics?x HTTP/1.0\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 3\r\n\r\nabc",
    b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
)

SOCKETS = [
    Target(name="mjpeg peer", corpus=_stream, prepare=_client, share=5),
    Target(name="metrics client", corpus=lambda folder: list(_REQUESTS), prepare=_server, share=5),
]
