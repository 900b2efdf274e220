"""Those at the other end of a further sink: absent, there and gone, never reading, or rude."""

from __future__ import annotations

import contextlib
import random
import socket

from rille.hil.scenario import Fault
from rille.hil.target import Setup, Target
from rille.hil.upset import Upset

_CLIENTS = 60
_REQUESTS = (
    b"\x00" * 2000,
    b"GET " + b"/" * 70000 + b" HTTP/1.1\r\n\r\n",
    b"GET /metrics HTTP/9.9\r\n" + b"X: y\r\n" * 5000,
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: evil\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
)


class Listener(Upset):
    """Listens to a further `udp://` sink; "off": not meanwhile, "intermittent": now and then."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self._port = 0
        self._socket: socket.socket | None = None

    def prepare(self, setup: Setup) -> None:
        """Begin to listen."""
        self._open()
        setup.sinks.append(f"udp://127.0.0.1:{self._port}")

    def begin(self, target: Target) -> None:
        """Hang up."""
        self._shut()

    def look(self, since_s: float) -> None:
        """Listen again, and hang up again."""
        if self.fault.type == "intermittent" and self.fault.amount:
            away = int(since_s / self.fault.amount) % 2 == 0
            if away:
                self._shut()
            elif self._socket is None:
                self._open()

    def end(self) -> None:
        """Listen again."""
        if self._socket is None:
            self._open()

    def _open(self) -> None:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("127.0.0.1", self._port))
        self._port, self._socket = made.getsockname()[1], made

    def _shut(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        """Hang up for good."""
        self._shut()


class Visitors(Upset):
    """Clients of a further `prometheus://` sink: who never read, or ask nonsense."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self._random = random.Random(1)
        self._port = 0
        self._clients: list[socket.socket] = []

    def prepare(self, setup: Setup) -> None:
        """Give the device the sink."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        setup.sinks.append(f"prometheus://127.0.0.1:{self._port}")

    def begin(self, target: Target) -> None:
        """Come in crowds."""
        if self.fault.type == "stuck":
            for _ in range(_CLIENTS):
                self._ask(b"GET /metrics HTTP/1.1\r\n")
        self.look(0.0)

    def look(self, since_s: float) -> None:
        """Ask something else each time."""
        if self.fault.type == "garbage" and len(self._clients) < _CLIENTS:
            self._ask(self._random.choice(_REQUESTS) + self._random.randbytes(64))

    def _ask(self, request: bytes) -> None:
        client = socket.socket()
        self._clients.append(client)
        # Never waiting: who is not let in at once stands at the door, and frames go on.
        client.setblocking(False)
        with contextlib.suppress(OSError):
            client.connect_ex(("127.0.0.1", self._port))
            client.send(request)

    def end(self) -> None:
        """Leave."""
        for client in self._clients:
            client.close()
        self._clients = []

    def close(self) -> None:
        """Leave."""
        self.end()


class NoSuchHost(Upset):
    """A further sink whose address is a name that does not exist."""

    def prepare(self, setup: Setup) -> None:
        """Give the device that sink."""
        setup.sinks.append("udp://no-such-host.invalid:5000")
