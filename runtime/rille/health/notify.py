"""Telling systemd how the service is: readiness, watchdog, status.

The protocol is that of sd_notify(3): lines of NAME=VALUE in one datagram to the UNIX socket that
NOTIFY_SOCKET names.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping

from rille.events import EventLog

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""What systemd sets; not for the children of the process it is meant for."""


class Notifier:
    """Sends to systemd, where there is one; never blocks and never fails.

    Args:
        environment: with `VARIABLES`.
        events: told once of a socket that cannot be reached.

    Attributes:
        watchdog_s: how often the watchdog is to be fed: half of what systemd waits; None where it
            does not wait.
    """

    def __init__(self, environment: Mapping[str, str], events: EventLog) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._events = events
        self._trusted = True
        self._status = ""
        span, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        meant = pid in ("", str(os.getpid()))
        given = re.fullmatch(r"\d{1,15}", span) and int(span) > 0
        self.watchdog_s = int(span) / 2e6 if meant and given and self._address else None

    def ready(self) -> bool:
        """Say that the service serves; return whether that went through, or nobody listens."""
        return self._send("READY=1")

    def stopping(self) -> None:
        """Say that the service is about to end."""
        self._send("STOPPING=1")

    def feed_watchdog(self) -> None:
        """Say that all is well."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Say in words what goes on; said once for each new text."""
        if text != self._status:
            self._status = text
            self._send("STATUS=" + text.replace("\n", " "))

    def _send(self, message: str) -> bool:
        """Send, and return False where the socket is full: it may take the message later."""
        if not self._address:
            return True
        abstract = self._address.startswith("@")
        try:
            if not abstract and not self._address.startswith("/"):
                raise OSError(f"{self._address[:80]!r} is neither a path nor an abstract name")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.setblocking(False)
                target = "\0" + self._address[1:] if abstract else self._address
                out.sendto(message.encode(), target)
        except BlockingIOError:
            return False
        except OSError as wrong:
            if self._trusted:
                self._trusted = False
                self._events.emit(
                    "NOTIFY_UNREACHABLE", f"NOTIFY_SOCKET cannot be reached: {wrong}; going on"
                )
        return True
