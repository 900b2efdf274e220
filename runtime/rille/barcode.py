"""A test bench's mark on a frame: number, time and checksum as blocks in a strip below the picture.

96 bits in 3 rows of 32 blocks, black for 0, white for 1, the highest bit first:

    32    number of the frame
    48    microseconds on the bench's monotonic clock, modulo 2^48
    16    CRC-16-CCITT (0x1021, from 0xFFFF) of the ten bytes before

A block is a 32nd of the frame's width wide and 8 px high, or 16 from 512 px on, so that whoever
knows the width finds the strip. Blocks survive what a JPEG or a video encoder does to a picture; a
frame number in the meta data would only tell what the meta data went through.
"""

from __future__ import annotations

import binascii
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rille.errors import FrameDecodeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_WIDTH = 128
"""Pixels across, below which blocks are too narrow to be sure of."""
_ROWS, _COLUMNS = 3, 32
_BLACK, _WHITE = 16, 240
_NUMBERS, _TIMES = 1 << 32, 1 << 48


@dataclass(frozen=True, slots=True)
class Mark:
    """What a barcode says.

    Attributes:
        number: of the frame, modulo 2^32.
        sent_us: when the bench sent it, monotonic microseconds of the bench, modulo 2^48.
    """

    number: int
    sent_us: int


def strip_height(width: int) -> int:
    """Return the rows of pixels that the strip of a frame of this width takes."""
    return _ROWS * (16 if width >= 512 else 8)


def stamp(picture: NDArray[np.uint8], mark: Mark) -> NDArray[np.uint8]:
    """Return a picture with its barcode below.

    Args:
        picture: (H, W, 3) or (H, W), uint8; W at least `LEAST_WIDTH`.
        mark: what to say.

    Returns:
        (H + strip_height(W), W, ...) uint8.

    Raises:
        ValueError: the picture is too narrow.
    """
    width = picture.shape[1]
    if width < LEAST_WIDTH:
        raise ValueError(f"a barcode needs {LEAST_WIDTH} px across, not {width}")
    body = struct.pack("!IQ", mark.number % _NUMBERS, mark.sent_us % _TIMES)
    body = body[:4] + body[6:]
    code = np.frombuffer(body + struct.pack("!H", binascii.crc_hqx(body, 0xFFFF)), np.uint8)
    bits = np.unpackbits(code).reshape(_ROWS, _COLUMNS)
    blocks = np.where(bits, np.uint8(_WHITE), np.uint8(_BLACK))
    strip = np.full((strip_height(width), *picture.shape[1:]), _BLACK, np.uint8)
    across = width // _COLUMNS
    drawn = blocks.repeat(strip.shape[0] // _ROWS, axis=0).repeat(across, axis=1)
    strip[:, : across * _COLUMNS] = drawn if picture.ndim == 2 else drawn[:, :, None]
    return np.concatenate([picture, strip])


def read(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Mark]:
    """Take a frame apart into picture and mark.

    Args:
        pixels: as `stamp` returned them, perhaps after a lossy link.

    Returns:
        The picture without the strip (a view), and what the barcode says.

    Raises:
        FrameDecodeError: there is none, or its checksum does not fit.
    """
    height, width = pixels.shape[:2]
    rows = strip_height(width)
    if width < LEAST_WIDTH or height <= rows:
        raise FrameDecodeError(f"{width} x {height} px has no room for a barcode")
    strip = pixels[height - rows :] if pixels.ndim == 2 else pixels[height - rows :, :, 1]
    across, down = width // _COLUMNS, rows // _ROWS
    blocks = strip[:, : across * _COLUMNS].reshape(_ROWS, down, _COLUMNS, across)
    inner = blocks[:, down // 4 : -(down // 4), :, across // 4 : across - across // 4]
    code = np.packbits(inner.mean(axis=(1, 3)) > 128).tobytes()
    body, told = code[:10], struct.unpack("!H", code[10:])[0]
    # An all-black strip would be the number 0 at the time 0, were it not for the checksum's start.
    if binascii.crc_hqx(body, 0xFFFF) != told:
        raise FrameDecodeError("its barcode cannot be read")
    number, sent_us = struct.unpack("!IQ", body[:4] + b"\0\0" + body[4:])
    return pixels[: height - rows], Mark(number, sent_us)
