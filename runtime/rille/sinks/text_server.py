"""A web server for one page of text, for clients that may be hostile.

GET /metrics and nothing else; requests are capped in length and time, connections in number. To
keep a web page in somebody's browser from reading it through a name that it points here (DNS
rebinding), a private server answers only requests for an address or localhost.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable

from rille.errors import ConfigError, SinkError

MAX_REQUEST_BYTES = 8192
MAX_CONNECTIONS = 8
TIMEOUT_S = 2.0
_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
}


class TextServer:
    """Serves what `page` returns, each request in a thread of its own.

    Args:
        host, port: where it listens; port 0 for any free one.
        page: returns the text.
        public: whether it may listen beyond this machine, and be asked for by any name.

    Attributes:
        port: where it really listens.

    Raises:
        ConfigError: the address is beyond this machine, and `public` is not set.
        SinkError: it cannot listen there.
    """

    def __init__(self, host: str, port: int, page: Callable[[], str], *, public: bool) -> None:
        family, address = _address(host, port)
        if not public and not ipaddress.ip_address(address[0].partition("%")[0]).is_loopback:
            raise ConfigError(
                f"prometheus://{host}:{port}: listens beyond this machine; add ?public=1 if it "
                "is meant to"
            )
        try:
            self._server = _Server(family, address, page, public)
        except OSError as wrong:
            raise SinkError(
                f"prometheus://{host}:{port}: cannot listen there: {wrong.strerror}"
            ) from None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name="rille-metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Listen no more; safe to call twice."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _address(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise SinkError(f"prometheus://{host}:{port}: the host cannot be found") from None
    family, _, _, _, address = found[0]
    return family, (str(address[0]), int(address[1]))


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = MAX_CONNECTIONS

    def __init__(
        self,
        family: socket.AddressFamily,
        address: tuple[str, int],
        page: Callable[[], str],
        public: bool,
    ) -> None:
        self.address_family = family
        self.page, self.public = page, public
        self.free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: object, client_address: object) -> None:
        """Answer in a thread, or hang up where too many are connected already."""
        assert isinstance(request, socket.socket)
        if not self.free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Answer, and let the next one in."""
        assert isinstance(request, socket.socket)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Tell of faults alone: a client that goes away is no news."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        status, body = _answer(_request(self.request), server)
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nX-Content-Type-Options: nosniff\r\n"
            "Connection: close\r\n\r\n"
        )
        self.request.settimeout(TIMEOUT_S)
        with contextlib.suppress(OSError):
            self.request.sendall(head.encode() + body)


def _request(connection: socket.socket) -> bytes | int:
    """Return a request up to its empty line, or the status that refuses it."""
    data, end = b"", time.monotonic() + TIMEOUT_S
    while b"\r\n\r\n" not in data:
        left_s = end - time.monotonic()
        if left_s <= 0:
            return 408
        connection.settimeout(left_s)
        try:
            more = connection.recv(MAX_REQUEST_BYTES)
        except OSError:
            return 408
        if not more:
            return 400
        data += more
        if len(data) > MAX_REQUEST_BYTES:
            return 431
    return data


def _answer(request: bytes | int, server: _Server) -> tuple[int, bytes]:
    """Return status and body for a request."""
    if isinstance(request, int):
        return request, b""
    first, *rest = request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return 400, b""
    fields = [line.partition(":")[::2] for line in rest]
    hosts = [value.strip() for name, value in fields if name.strip().lower() == "host"]
    if len(hosts) > 1:
        return 400, b""
    if not server.public and hosts and not _is_address(hosts[0]):
        return 403, b"asked for by a name; use an address or localhost\n"
    if words[0] != "GET":
        return 405, b""
    if words[1].partition("?")[0] != "/metrics":
        return 404, b"there is only /metrics here\n"
    return 200, server.page().encode()


def _is_address(host: str) -> bool:
    """Return whether a Host header names an IP address or localhost, with or without a port."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
