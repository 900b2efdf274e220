"""Spoiling bytes: bits, cuts, splices, numbers in length fields, words that parsers trip over."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

_WORDS = (
    b"{", b"]", b'"', b"\\u0000", b"1e999", b"-", b"NaN", b"[" * 2000, b"\x00", b"\xff\xfe",
    b"../", b"%00", b"\r\n\r\n", b"\r\n", b"=", b"9" * 30, b"true", b"null", b"://", b"#", b"?",
)  # fmt: skip
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def spoilt(corpus: Sequence[bytes], dice: random.Random) -> bytes:
    """Return one of the corpus with one to four changes; once in fifty as it is."""
    data = bytearray(dice.choice(corpus))
    if dice.random() < 0.02:
        return bytes(data)
    for _ in range(dice.choice((1, 1, 2, 4))):
        _change(data, corpus, dice)
    return bytes(data)


def _change(data: bytearray, corpus: Sequence[bytes], dice: random.Random) -> None:
    at = dice.randrange(len(data)) if data else 0
    length = dice.choice((1, 2, 4, 16, 64, 1000))
    kind = dice.randrange(10)
    if kind == 0 and data:
        data[at] ^= 1 << dice.randrange(8)
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        data[at:at] = dice.randbytes(length)
    elif kind == 3:
        del data[at : at + length]
    elif kind == 4:
        data[at : at + length] = bytes([dice.choice((0, 0xFF))]) * length
    elif kind == 5:
        data[at:at] = data[at : at + length]
    elif kind == 6:
        order = dice.choice(("<", ">"))
        width = dice.choice(("I", "H", "Q"))
        number = dice.choice(_NUMBERS) & (0xFFFF if width == "H" else 0xFFFFFFFF)
        data[at : at + struct.calcsize(width)] = struct.pack(order + width, number)
    elif kind == 7:
        data[at : at + dice.choice((0, 1))] = dice.choice(_WORDS)
    elif kind == 8:
        other = dice.choice(corpus)
        data[at:] = other[dice.randrange(len(other)) if other else 0 :]
    elif data:
        to = dice.randrange(len(data))
        piece = data[at : at + length]
        data[to : to + len(piece)] = piece
