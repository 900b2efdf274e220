"""MJPEG over HTTP: what network cameras and many a robot serve (multipart/x-mixed-replace).

Every length that the other side states is capped, and every wait has an end: a peer may be broken
or hostile.
"""

from __future__ import annotations

import base64
import http.client
import ssl
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from rille.capture import WATCHED
from rille.capture.shot import Shot
from rille.errors import FrameDecodeError, SourceError
from rille.images import decode_image
from rille.uri import SourceUri

_TIMEOUT_S = 10.0
_MAX_PART = 32 * 1024 * 1024
_MAX_LINE, _MAX_LINES = 1024, 32
_START, _END = b"\xff\xd8", b"\xff\xd9"


def check(uri: SourceUri) -> None:
    """Refuse options that are not known.

    Raises:
        ConfigError: names the option.
    """
    uri.check_options(WATCHED)


def read(uri: SourceUri) -> Iterator[Shot]:
    """Give the pictures of a stream until it ends.

    Raises:
        SourceError: no connection, refused, or what comes is no such stream.
    """
    connection = _connect(uri)
    try:
        response, boundary = _request(connection, uri)
        if not boundary:
            raise SourceError(
                f"{uri.shown}: sends {response.headers.get_content_type()}, not "
                "multipart/x-mixed-replace; name the camera's MJPEG address"
            )
        while True:
            body = _part(response, boundary, uri)
            if body is None:
                return
            try:
                yield Shot(decode_image(body, uri.shown))
            except FrameDecodeError as wrong:
                yield Shot(None, fault=str(wrong))  # the next one may be whole
    except (OSError, http.client.HTTPException) as wrong:
        raise SourceError(f"{uri.shown}: {_reason(wrong)}") from None
    finally:
        connection.close()


def _connect(uri: SourceUri) -> http.client.HTTPConnection:
    parts = urlsplit(uri.address)
    try:
        port = parts.port
    except ValueError:
        raise SourceError(f"{uri.shown}: not a port number") from None
    if not parts.hostname:
        raise SourceError(f"{uri.shown}: names no host")
    if uri.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(
            parts.hostname, port, timeout=_TIMEOUT_S, context=context
        )
    return http.client.HTTPConnection(parts.hostname, port, timeout=_TIMEOUT_S)


def _request(
    connection: http.client.HTTPConnection, uri: SourceUri
) -> tuple[http.client.HTTPResponse, bytes]:
    """Ask for the stream; return the answer and the boundary between its parts."""
    parts = urlsplit(uri.address)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"User-Agent": "rille", "Accept": "multipart/x-mixed-replace, image/jpeg"}
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(secret.encode()).decode()}"
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    if response.status in (401, 403):
        raise SourceError(f"{uri.shown}: user name or password refused ({response.status})")
    if response.status != 200:
        raise SourceError(f"{uri.shown}: answers {response.status} {response.reason[:60]}")
    kind = response.headers.get_content_maintype()
    boundary = response.headers.get_param("boundary") if kind == "multipart" else None
    return response, b"--" + str(boundary).strip('"').lstrip("-").encode() if boundary else b""


def _part(response: http.client.HTTPResponse, boundary: bytes, uri: SourceUri) -> bytes | None:
    """Return the next part's body; None at the end of the stream."""
    length = -1
    started = False
    for _ in range(_MAX_LINES):
        line = response.readline(_MAX_LINE + 1)
        if not line:
            return None
        if len(line) > _MAX_LINE:
            raise SourceError(f"{uri.shown}: sends a header line longer than {_MAX_LINE} bytes")
        text = line.strip()
        if not started:
            started = text.lstrip(b"-") == boundary.lstrip(b"-")
            continue
        if not text:
            break
        name, _, value = text.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value) if value.strip().isdigit() else -1
    else:
        raise SourceError(f"{uri.shown}: sends no boundary in {_MAX_LINES} lines")
    if length > _MAX_PART:
        raise SourceError(f"{uri.shown}: announces a picture of {length} bytes, refused")
    return response.read(length) if length >= 0 else _until_end(response, uri)


def _until_end(response: http.client.HTTPResponse, uri: SourceUri) -> bytes:
    """Read a picture of unknown length up to its end marker."""
    body = bytearray()
    while len(body) <= _MAX_PART:
        chunk = response.readline(64 * 1024)
        if not chunk:
            break
        body += chunk
        if _END in body[-(len(chunk) + 1) :]:
            return bytes(body[: body.rindex(_END) + 2])
    raise SourceError(f"{uri.shown}: sends a picture without an end")


def _reason(wrong: Exception) -> str:
    if isinstance(wrong, TimeoutError):
        return f"silent for {_TIMEOUT_S:g} s"
    if isinstance(wrong, ConnectionRefusedError):
        return "refuses the connection; is the camera on, and the port right?"
    return str(wrong).strip()[:160] or type(wrong).__name__
