"""RTSP cameras and MPEG transport streams, through PyAV (FFmpeg's libraries)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from rille.capture import WATCHED
from rille.capture.shot import Shot
from rille.errors import ConfigError, SourceError
from rille.uri import SourceUri

_TRANSPORTS = ("tcp", "udp")
_TIMEOUT_S = 10.0


def check(uri: SourceUri) -> None:
    """Refuse options that are not known.

    Raises:
        ConfigError: names the option.
    """
    uri.check_options([*WATCHED, "transport"])
    if uri.options.get("transport", "tcp") not in _TRANSPORTS:
        raise ConfigError(f"{uri.shown}: transport must be {' or '.join(_TRANSPORTS)}")


def read(uri: SourceUri) -> Iterator[Shot]:
    """Give the frames of a stream until it ends.

    Decoding is told to keep no frame back: one thread, for each thread of a frame-threaded decoder
    costs a frame of delay.

    Raises:
        SourceError: PyAV is not installed, no connection, or no video in the stream.
    """
    try:
        av: Any = importlib.import_module("av")
    except ImportError as wrong:
        raise SourceError(
            f'{uri.shown}: needs PyAV ({wrong}): pip install "rille[video]"'
        ) from None
    options = {"fflags": "nobuffer", "flags": "low_delay", "probesize": "500000"}
    options["analyzeduration"] = "500000"
    if uri.scheme in ("rtsp", "rtsps"):
        options["rtsp_transport"] = uri.options.get("transport", "tcp")
    try:
        with av.open(uri.address, options=options, timeout=(_TIMEOUT_S, _TIMEOUT_S)) as container:
            if not container.streams.video:
                raise SourceError(f"{uri.shown}: carries no video")
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            for frame in container.decode(stream):
                stamp = None if frame.time is None else int(frame.time * 1e9)
                if frame.is_corrupt:  # the decoder saw that packets are missing
                    yield Shot(None, stamp, fault="a part of it never came")
                else:
                    yield Shot(frame.to_ndarray(format="rgb24"), stamp)
    except av.FFmpegError as wrong:
        raise SourceError(f"{uri.shown}: {_reason(wrong)}") from None


def _reason(wrong: Exception) -> str:
    text = str(getattr(wrong, "strerror", "") or wrong).strip()
    if "401" in text:
        return "user name or password refused"
    return text[:160] or type(wrong).__name__
