"""Images in MCAP files from anywhere: foxglove.CompressedImage and foxglove.RawImage."""

from __future__ import annotations

import base64
import binascii
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille.errors import FrameDecodeError, SourceError
from rille.images import MAX_PIXELS, decode_image
from rille.recording.container import Ending
from rille.recording.foxglove import unpack
from rille.recording.read import read_described
from rille.recording.topics import IMAGE, RESULT

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KINDS = ("foxglove.CompressedImage", "foxglove.RawImage")
_ENCODINGS = ("protobuf", "json")
_SCANNED = 2000
"""Messages that are looked at for what a file holds."""
_LAYOUTS = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "8UC3": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, None),
    "8UC1": (1, None),
}
"""RawImage encoding -> bytes a pixel, and how OpenCV makes RGB of it."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a file holds.

    Attributes:
        topics: those with images that can be played.
        own: whether rille recorded it, with results beside the images.
    """

    topics: tuple[str, ...]
    own: bool


def find_images(path: Path) -> Found:
    """Look for images among the first messages of a file.

    Raises:
        SourceError: there are none that can be played, or the file is damaged before the first.
    """
    seen: dict[str, str] = {}
    topics: dict[str, None] = {}
    try:
        for channel, schema, _ in itertools.islice(read_described(path, Ending()), _SCANNED):
            name = schema.name if schema is not None else "no schema"
            seen[channel.topic] = f"{channel.topic} ({name}, {channel.message_encoding})"
            if name in _KINDS and channel.message_encoding in _ENCODINGS:
                topics[channel.topic] = None
    except SourceError:
        # What comes before the damage can be played; whoever plays it comes to the damage too.
        if not topics:
            raise
    if not topics:
        there = ", ".join(list(seen.values())[:5]) or "nothing"
        raise SourceError(
            f"{path}: holds no images that can be played: needed are {' or '.join(_KINDS)} in "
            f"{' or '.join(_ENCODINGS)}; there is {there}"
        )
    return Found(tuple(topics), own=IMAGE in topics and RESULT in seen)


def read_images(path: Path, topic: str) -> Iterator[tuple[int, Callable[[], NDArray[np.uint8]]]]:
    """Read the images of one topic in the order of the file.

    Yields:
        When it was logged (nanoseconds, in the file's own epoch), and a function that decodes it
        and raises FrameDecodeError where it is damaged.

    Raises:
        SourceError: the file is damaged; what was yielded before is sound.
    """
    number = 0
    for channel, schema, message in read_described(path, Ending()):
        if channel.topic == topic and schema is not None and schema.name in _KINDS:
            yield message.log_time, _Decode(channel, schema.name, message.data, number)
            number += 1


@dataclass(frozen=True, slots=True)
class _Decode:
    """One image, decoded when called."""

    channel: Any
    kind: str
    data: bytes
    number: int

    def __call__(self) -> NDArray[np.uint8]:
        name = f"{self.channel.topic} {self.number}"
        try:
            fields = self._fields()
            if self.kind == "foxglove.RawImage":
                return _raw(fields, name)
            return decode_image(bytes(fields.get("data", b"")), name)
        except (ValueError, TypeError, RecursionError, binascii.Error) as wrong:
            raise FrameDecodeError(f"{name}: cannot be read ({str(wrong)[:80]})") from None

    def _fields(self) -> dict[str, Any]:
        if self.channel.message_encoding == "protobuf":
            return unpack(self.kind, self.data)
        fields = json.loads(self.data)
        if not isinstance(fields, dict) or not isinstance(fields.get("data"), str):
            raise ValueError("no table with data")
        fields["data"] = base64.b64decode(fields["data"], validate=True)
        return fields


def _raw(fields: dict[str, Any], name: str) -> NDArray[np.uint8]:
    """Return a foxglove.RawImage as RGB or grey; its rows may be longer than they are wide."""
    width, height = int(fields.get("width", 0)), int(fields.get("height", 0))
    encoding, data = fields.get("encoding", ""), fields.get("data", b"")
    if encoding not in _LAYOUTS:
        known = ", ".join(_LAYOUTS)
        raise FrameDecodeError(f"{name}: encoding {encoding!r} is not supported (known: {known})")
    channels, conversion = _LAYOUTS[encoding]
    step = int(fields.get("step", 0)) or width * channels
    longest = max(len(data), width * channels)
    fits = 0 < width * height <= MAX_PIXELS and longest >= step >= width * channels > 0
    if not fits or len(data) < step * (height - 1) + width * channels:
        raise FrameDecodeError(f"{name}: {width} x {height} pixels do not fit {len(data)} bytes")
    padded = np.zeros(step * height, np.uint8)
    padded[: min(len(data), len(padded))] = np.frombuffer(data, np.uint8)[: len(padded)]
    rows = padded.reshape(height, step)[:, : width * channels]
    if channels == 1:
        return np.ascontiguousarray(rows)
    pixels = np.ascontiguousarray(rows).reshape(height, width, channels)
    return pixels if conversion is None else np.asarray(cv2.cvtColor(pixels, conversion), np.uint8)
