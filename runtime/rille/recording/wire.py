"""Protocol Buffers' wire format, for messages that are described by a table.

The format is that of protobuf.dev/programming-guides/encoding: each field is a key (number times
eight plus wire type) and a value. Fields that hold their default are left out, as in proto3.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_WIRE = {"double": _FIXED64, "fixed32": _FIXED32, "string": _LENGTH, "bytes": _LENGTH}
_NUMBERS = ("int32", "int64", "bool", "enum")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    Attributes:
        number: its number on the wire.
        name: its name.
        kind: "double", "fixed32", "int32", "int64", "string", "bytes", "enum NAME", or the name of
            a message in the same table.
        repeated: whether there may be several, in order.
    """

    number: int
    name: str
    kind: str
    repeated: bool = False


Table = Mapping[str, tuple[Field, ...]]
"""Message name -> its fields."""


def encode(table: Table, message: str, values: Mapping[str, Any]) -> bytes:
    """Encode one message.

    Args:
        table: the messages there are.
        message: which one.
        values: field name -> value; nested messages are mappings, repeated fields sequences.
    """
    parts = []
    for field in table[message]:
        value = values.get(field.name)
        for item in (value or ()) if field.repeated else (value,):
            if item is not None and (field.repeated or item not in ("", b"", 0)):
                parts.append(_encode_field(table, field, item))
    return b"".join(parts)


def _encode_field(table: Table, field: Field, value: Any) -> bytes:
    if field.kind.split()[0] in _NUMBERS:
        return _varint(field.number << 3) + _varint(int(value))
    key = _varint(field.number << 3 | _WIRE.get(field.kind, _LENGTH))
    if field.kind == "double":
        return key + struct.pack("<d", value)
    if field.kind == "fixed32":
        return key + struct.pack("<I", value)
    content: bytes
    if field.kind == "string":
        content = value.encode()
    else:
        content = bytes(value) if field.kind == "bytes" else encode(table, field.kind, value)
    return key + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Return a whole number, seven bits a byte, the lowest first; a negative one in 64 bits."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode(table: Table, message: str, data: bytes) -> dict[str, Any]:
    """Decode one message from an untrusted sender; fields that the table lacks are skipped.

    Returns:
        Field name -> value for the fields that are present.

    Raises:
        ValueError: the bytes are no such message.
    """
    fields = {field.number: field for field in table[message]}
    values: dict[str, Any] = {}
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        raw, at = _read_value(data, at, key & 7)
        field = fields.get(key >> 3)
        if field is None:
            continue
        value = _interpret(table, field, key & 7, raw)
        if field.repeated:
            values.setdefault(field.name, []).append(value)
        else:
            values[field.name] = value
    return values


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        if at >= len(data):
            break
        byte = data[at]
        value |= (byte & 0x7F) << 7 * place
        at += 1
        if byte < 0x80:
            return value, at
    raise ValueError("a number does not end")


def _read_value(data: bytes, at: int, wire: int) -> tuple[Any, int]:
    if wire == _VARINT:
        return _read_varint(data, at)
    if wire == _LENGTH:
        size, at = _read_varint(data, at)
    elif wire in (_FIXED64, _FIXED32):
        size = 8 if wire == _FIXED64 else 4
    else:
        raise ValueError(f"wire type {wire} is not supported")
    if size > len(data) - at:
        raise ValueError("a field is longer than its message")
    return data[at : at + size], at + size


def _interpret(table: Table, field: Field, wire: int, raw: Any) -> Any:
    number = field.kind.split()[0] in _NUMBERS
    if wire != (_VARINT if number else _WIRE.get(field.kind, _LENGTH)):
        raise ValueError(f"{field.name} has wire type {wire}")
    if number:
        return raw - (1 << 64) if raw >> 63 else raw
    if field.kind == "double":
        return struct.unpack("<d", raw)[0]
    if field.kind == "fixed32":
        return struct.unpack("<I", raw)[0]
    if field.kind == "string":
        return raw.decode()
    return raw if field.kind == "bytes" else decode(table, field.kind, raw)
