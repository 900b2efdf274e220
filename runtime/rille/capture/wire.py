"""What a capture process says to the one that started it: frames, and what went wrong.

Every message is a header of fixed size and a body. Both ends run on one machine, so its monotonic
clock is theirs alike and pixels go as they are.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from rille.vehicle import Vehicle

FRAME, TROUBLE, DAMAGED = 1, 2, 3
MAX_BODY = 256 * 1024 * 1024
_MAGIC = b"RLF2"
# Magic, kind, height, width, channels, body bytes, number, monotonic ns, source ns (-1: none),
# exposure in ms and gain in dB (not a number: not known).
HEADER = struct.Struct("<4sBIIBQQqqdd")


@dataclass(frozen=True, slots=True)
class Header:
    """The head of a message.

    Attributes:
        kind: `FRAME`, whose body is pixels; `DAMAGED`, a frame of which the body says in a sentence
            what is wrong with it; `TROUBLE`, no frame but a sentence.
        height, width, channels: of the pixels; 0 otherwise.
        size: bytes of the body.
        number: of the frame since the process started; numbers that are left out were captured and
            replaced by newer frames before they could be sent, or never got here.
        captured_ns: monotonic time at which the frame was captured or, where that is not known,
            complete.
        source_ns: the camera's own time stamp, or None.
        exposure_ms, gain_db: as the camera says, or None.
    """

    kind: int
    height: int = 0
    width: int = 0
    channels: int = 0
    size: int = 0
    number: int = 0
    captured_ns: int = 0
    source_ns: int | None = None
    exposure_ms: float | None = None
    gain_db: float | None = None

    @property
    def vehicle(self) -> Vehicle | None:
        """What the camera says of the frame; None where it says nothing, or what cannot be."""
        if self.exposure_ms is None and self.gain_db is None:
            return None
        try:
            return Vehicle(exposure_ms=self.exposure_ms, gain_db=self.gain_db)
        except ValueError:
            return None

    def pack(self) -> bytes:
        """Return the bytes."""
        source = -1 if self.source_ns is None else self.source_ns
        return HEADER.pack(
            _MAGIC, self.kind, self.height, self.width, self.channels, self.size, self.number,
            self.captured_ns, source, _number(self.exposure_ms), _number(self.gain_db),
        )  # fmt: skip


def unpack(text: bytes) -> Header:
    """Read a header.

    Raises:
        ValueError: these bytes are none.
    """
    magic, kind, height, width, channels, size, number, captured, source, *light = HEADER.unpack(
        text
    )
    pixels = height * width * channels
    known = kind in (TROUBLE, DAMAGED) or (kind == FRAME and pixels == size and channels in (1, 3))
    if magic != _MAGIC or not known or size > MAX_BODY:
        raise ValueError("not a message of a capture process")
    stamp = None if source < 0 else source
    exposure_ms, gain_db = (None if math.isnan(value) else value for value in light)
    return Header(
        kind, height, width, channels, size, number, captured, stamp, exposure_ms, gain_db
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value
