"""Masks in runs: a few hundred bytes for what a network saw of a frame.

The format: the three letters "RM1"; width and height as 16-bit numbers, low byte first; then runs,
row by row from the top left and on across the ends of rows. A run is the mask's value in one byte
and its length in LEB128 (seven bits a byte, the lowest first, the top bit set on all but the last).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from rille.errors import FrameDecodeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAGIC = b"RM1"
_HEAD = struct.Struct("<3sHH")
_MAX_PIXELS = 50_000_000


def encode_mask(mask: NDArray[np.uint8]) -> bytes:
    """Encode a mask, (h, w) uint8 with sides up to 65535."""
    height, width = mask.shape
    cells = mask.ravel()
    starts = np.concatenate([[0], np.flatnonzero(np.diff(cells)) + 1])
    lengths = np.diff(np.concatenate([starts, [cells.size]]))
    out = bytearray(_HEAD.pack(_MAGIC, width, height))
    for value, length in zip(cells[starts].tolist(), lengths.tolist(), strict=True):
        out.append(value)
        while length > 0x7F:
            out.append(length & 0x7F | 0x80)
            length >>= 7
        out.append(length)
    return bytes(out)


def decode_mask(data: bytes) -> NDArray[np.uint8]:
    """Decode what `encode_mask` made, from an untrusted place.

    Raises:
        FrameDecodeError: it is not whole, or not such a mask.
    """
    if len(data) < _HEAD.size or data[:3] != _MAGIC:
        raise FrameDecodeError("not a mask in runs")
    _, width, height = _HEAD.unpack_from(data)
    if not 0 < width * height <= _MAX_PIXELS:
        raise FrameDecodeError(f"a mask of {width} x {height} cells, refused")
    mask = np.empty(width * height, np.uint8)
    at, filled = _HEAD.size, 0
    while at < len(data):
        value = data[at]
        length, at = _length(data, at + 1)
        if not 0 < length <= mask.size - filled:
            raise FrameDecodeError("a run of a mask does not fit")
        mask[filled : filled + length] = value
        filled += length
    if filled != mask.size:
        raise FrameDecodeError("a mask in runs is cut short")
    return mask.reshape(height, width)


def _length(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(5):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at
    raise FrameDecodeError("the length of a run does not end")
