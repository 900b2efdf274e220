"""Raw frames in datagrams: how a frame is cut into chunks, and put together again.

Each datagram starts with 32 bytes in network order: magic "RLU1", frame number (u32, counts up and
wraps), chunk (u16), chunks of this frame (u16), height (u16), width (u16), channels (u8: 1 grey, 3
RGB), a zero, bytes in each chunk but the last (u16), CRC-32 of all pixels (u32), the camera's own
time stamp in ns (i64, -1: none). Then pixels from `chunk * bytes in each chunk` on.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from rille.capture.shot import MOST_MISSED, Shot
from rille.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEAD = struct.Struct("!4sIHHHHBxHIq")
LARGEST, USUAL = 65000, 1400
"""Bytes of pixels in a datagram: most, and what fits an Ethernet frame."""
_MAGIC = b"RLU1"
_WRAP = 1 << 32
_LATE = 16
"""Numbers that go further back are those of a sender that started anew."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The frames that are expected: sides in pixels, and channels."""

    height: int
    width: int
    channels: int

    @property
    def size(self) -> int:
        """Bytes of a frame."""
        return self.height * self.width * self.channels


def cut(
    pixels: NDArray[np.uint8], number: int, source_ns: int | None = None, payload: int = USUAL
) -> Iterator[bytes]:
    """Give the datagrams of a frame.

    Args:
        pixels: (H, W, 3) RGB or (H, W) grey, uint8.
        number: of the frame.
        source_ns: the camera's own time stamp.
        payload: bytes of pixels in each datagram, up to `LARGEST`.

    Raises:
        ConfigError: it would take more than 65535 datagrams, or payload is out of range.
    """
    body = np.ascontiguousarray(pixels).tobytes()
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    count = -(-len(body) // payload) if payload > 0 else 0
    if not 1 <= count <= 0xFFFF or payload > LARGEST or max(height, width) > 0xFFFF:
        raise ConfigError(f"a frame {width} x {height} does not fit datagrams of {payload} bytes")
    total = zlib.crc32(body)
    stamp = -1 if source_ns is None else source_ns
    for chunk in range(count):
        head = HEAD.pack(
            _MAGIC, number % _WRAP, chunk, count, height, width, channels, payload, total, stamp
        )
        yield head + body[chunk * payload : (chunk + 1) * payload]


@dataclass(slots=True)
class _Partial:
    """A frame of which some chunks came."""

    number: int
    total: int
    payload: int
    source_ns: int
    missing: set[int]
    chunks: int
    pixels: NDArray[np.uint8] = field(repr=False)


class Assembler:
    """Puts frames together from datagrams of one sender, in any order within two frames.

    A frame is given up when a newer one is complete, or when one two newer begins. Every frame that
    the sender counted is given once: whole, damaged, or in `Shot.missed` of the next.

    Args:
        shape: of the frames; others are refused.

    Attributes:
        refused: datagrams that were none of such a frame.
        wrong_shape: the last other shape that was seen, for people.
    """

    def __init__(self, shape: Shape) -> None:
        self.refused = 0
        self.wrong_shape = ""
        self._shape = shape
        self._open: list[_Partial] = []
        self._settled: int | None = None
        self._left: list[Shot] = []

    def put(self, datagram: memoryview | bytes) -> list[Shot]:
        """Take a datagram; return the frames that it completes or that are given up by it."""
        partial, chunk, body = self._place(datagram)
        given, self._left = self._left, []
        if partial is None:
            return given
        while self._open[0].number < partial.number - 1:
            given.append(self._give_up(self._open[0]))
        if chunk not in partial.missing:
            return given  # came twice
        partial.missing.discard(chunk)
        start = chunk * partial.payload
        partial.pixels[start : start + len(body)] = np.frombuffer(body, np.uint8)
        if not partial.missing:
            while self._open[0] is not partial:
                given.append(self._give_up(self._open[0]))
            given.append(self._complete(partial))
        return given

    def flush(self) -> list[Shot]:
        """Give up what is not complete: nothing has come for a while."""
        return [self._give_up(partial) for partial in list(self._open)]

    def _place(self, datagram: memoryview | bytes) -> tuple[_Partial | None, int, memoryview]:
        """Check a datagram; return the frame it belongs to, or None, its chunk and its pixels."""
        view = memoryview(datagram)
        nothing = (None, 0, view[:0])
        self.refused += 1
        if len(view) < HEAD.size:
            return nothing
        magic, count, chunk, chunks, height, width, channels, payload, total, stamp = (
            HEAD.unpack_from(view)
        )
        if magic != _MAGIC:
            return nothing
        shape = self._shape
        if (height, width, channels) != (shape.height, shape.width, shape.channels):
            self.wrong_shape = f"{width} x {height} x {channels}"
            return nothing
        body = view[HEAD.size :]
        fits = 0 < payload <= LARGEST and chunks == -(-shape.size // payload) and chunk < chunks
        if not fits or len(body) != min(payload, shape.size - chunk * payload):
            return nothing
        number = self._unwrapped(count)
        newest = self._open[-1].number if self._open else number
        if self._settled is None or number <= self._settled or number < newest - 1:
            return nothing  # too late
        partial = next((p for p in self._open if p.number == number), None)
        if partial is None:
            pixels = np.empty(shape.size, np.uint8)
            partial = _Partial(number, total, payload, stamp, set(range(chunks)), chunks, pixels)
            self._open.append(partial)
            self._open.sort(key=lambda p: p.number)
        elif (partial.total, partial.payload) != (total, payload):
            return nothing
        self.refused -= 1
        return partial, chunk, body

    def _unwrapped(self, count: int) -> int:
        """Return a number that goes on where the counter wraps, or the sender started anew."""
        if self._settled is None:
            self._settled = count - 1
        step = (count - self._settled + _WRAP // 2) % _WRAP - _WRAP // 2
        if not -_LATE <= step <= MOST_MISSED:
            self._left += self.flush()
            self._settled = count - 1
            return count
        return self._settled + step

    def _settle(self, partial: _Partial) -> int:
        """Close a frame; return how many before it never came."""
        assert self._settled is not None
        missed = partial.number - self._settled - 1
        self._settled = partial.number
        self._open.remove(partial)
        return missed

    def _give_up(self, partial: _Partial) -> Shot:
        lost = len(partial.missing)
        why = f"frame {partial.number}: {lost} of {partial.chunks} chunks never came"
        return Shot(None, missed=self._settle(partial), fault=why)

    def _complete(self, partial: _Partial) -> Shot:
        missed = self._settle(partial)
        if zlib.crc32(partial.pixels.data) != partial.total:
            why = f"frame {partial.number}: its checksum does not fit its pixels"
            return Shot(None, missed=missed, fault=why)
        shape = self._shape
        sides = (shape.height, shape.width) + (() if shape.channels == 1 else (shape.channels,))
        stamp = partial.source_ns if partial.source_ns >= 0 else None
        return Shot(partial.pixels.reshape(sides), stamp, missed=missed)
