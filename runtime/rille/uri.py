"""The URI of a source or of a sink, taken apart."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from rille.errors import ConfigError, nearest

NETWORK = ("http", "https", "rtsp", "rtsps", "udp")
"""Schemes of sources whose query belongs to the other side."""


@dataclass(frozen=True, slots=True)
class SourceUri:
    """The URI of a source or of a sink, taken apart.

    Attributes:
        text: the URI as given.
        scheme: what comes before "://".
        target: host and path, unquoted: a file, a folder, a world's name.
        options: what comes after "?"; of a source on a network what comes after "#", because
            "?" belongs to the other side.
    """

    text: str
    scheme: str
    target: str
    options: Mapping[str, str]

    @property
    def address(self) -> str:
        """The URI without what comes after "#"."""
        return self.text.partition("#")[0]

    @property
    def shown(self) -> str:
        """The URI as it may be shown: without a password."""
        head, at, rest = self.text.partition("@")
        scheme, slashes, user = head.partition("://")
        hidden = f"{scheme}{slashes}{user.partition(':')[0]}:***" if ":" in user else head
        return f"{hidden}{at}{rest}" if at and "/" not in user else self.text

    def check_options(self, known: Sequence[str]) -> None:
        """Refuse an option that is not known.

        Raises:
            ConfigError: the option, and the nearest known one.
        """
        for key in self.options:
            if key not in known:
                raise ConfigError(
                    f"{self.text}: no option {key!r}{nearest(key, list(known))} "
                    f"(known: {', '.join(known)})"
                )

    def number(self, key: str, default: float | None, low: float, high: float) -> float | None:
        """Return a numeric option within [low, high].

        Raises:
            ConfigError: not a number, or out of range.
        """
        if key not in self.options:
            return default
        try:
            value = float(self.options[key])
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ConfigError(
                f"{self.text}: {key} must be a number from {low:g} to {high:g}, "
                f"not {self.options[key]!r}"
            )
        return value

    def whole(self, key: str, default: int, low: int, high: int) -> int:
        """Return an option that is a whole number within [low, high].

        Raises:
            ConfigError: anything else.
        """
        text = self.options.get(key, str(default))
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not low <= int(text) <= high:
            raise ConfigError(
                f"{self.text}: {key} must be a whole number from {low} to {high}, not {text!r}"
            )
        return int(text)

    def host_port(self) -> tuple[str, int]:
        """Return host and port of an address like udp://192.168.1.5:5005.

        Raises:
            ConfigError: one is missing, the port is out of range, or there is more.
        """
        parts = urlsplit(self.text)
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            port, host = None, parts.hostname
        if not host or not port or parts.path not in ("", "/") or "@" in parts.netloc:
            raise ConfigError(
                f"{self.shown}: needs a host and a port from 1 to 65535, as in "
                f"{self.scheme}://127.0.0.1:5005"
            )
        return host, port

    def flag(self, key: str, default: bool) -> bool:
        """Return an option that is 0 or 1.

        Raises:
            ConfigError: anything else.
        """
        value = self.options.get(key, "1" if default else "0")
        if value not in ("0", "1"):
            raise ConfigError(f"{self.text}: {key} must be 0 or 1, not {value!r}")
        return value == "1"

    def size(self, default: tuple[int, int]) -> tuple[int, int]:
        """Return the option `size`, as in 640x480, in pixels.

        Raises:
            ConfigError: not two whole numbers from 16 to 8192.
        """
        text = self.options.get("size")
        if text is None:
            return default
        parts = text.lower().split("x")
        if len(parts) == 2 and all(p.isdigit() and 16 <= int(p) <= 8192 for p in parts):
            return int(parts[0]), int(parts[1])
        raise ConfigError(f"{self.text}: size must be like 640x480, 16 to 8192 each, not {text!r}")


def split_uri(text: str, network: Sequence[str] = NETWORK) -> SourceUri:
    """Take a text with "://" in it apart.

    Args:
        text: the URI.
        network: schemes whose options come after "#".

    Raises:
        ConfigError: it is no URI (a bracket in the host that is not closed).
    """
    try:
        parts = urlsplit(text)
    except ValueError as wrong:
        raise ConfigError(f"{text}: not a URI: {wrong}") from None
    own = parts.fragment if parts.scheme in network else parts.query
    options = dict(parse_qsl(own, keep_blank_values=True))
    return SourceUri(text, parts.scheme, unquote(parts.netloc + parts.path), options)
