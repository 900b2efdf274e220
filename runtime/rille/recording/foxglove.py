"""The messages of Foxglove that a recording holds, as published in github.com/foxglove/schemas.

They are written as Protocol Buffers, the one encoding that Foxglove and Rerun both open as it is.
A channel carries the description of its message with it (a FileDescriptorSet), made from the same
table that encodes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rille.recording.wire import Field, decode, encode

_PACKAGE = "foxglove"
_STAMP = "google.protobuf.Timestamp"

MESSAGES: Mapping[str, tuple[Field, ...]] = {
    _STAMP: (Field(1, "seconds", "int64"), Field(2, "nanos", "int32")),
    "foxglove.CompressedImage": (
        Field(1, "timestamp", _STAMP),
        Field(4, "frame_id", "string"),
        Field(2, "data", "bytes"),
        Field(3, "format", "string"),
    ),
    "foxglove.RawImage": (
        Field(1, "timestamp", _STAMP),
        Field(7, "frame_id", "string"),
        Field(2, "width", "fixed32"),
        Field(3, "height", "fixed32"),
        Field(4, "encoding", "string"),
        Field(5, "step", "fixed32"),
        Field(6, "data", "bytes"),
    ),
    "foxglove.Point2": (Field(1, "x", "double"), Field(2, "y", "double")),
    "foxglove.Color": tuple(Field(k, name, "double") for k, name in enumerate("rgba", 1)),
    "foxglove.PointsAnnotation": (
        Field(1, "timestamp", _STAMP),
        Field(2, "type", "enum Type"),
        Field(3, "points", "foxglove.Point2", True),
        Field(4, "outline_color", "foxglove.Color"),
        Field(5, "outline_colors", "foxglove.Color", True),
        Field(6, "fill_color", "foxglove.Color"),
        Field(7, "thickness", "double"),
    ),
    "foxglove.TextAnnotation": (
        Field(1, "timestamp", _STAMP),
        Field(2, "position", "foxglove.Point2"),
        Field(3, "text", "string"),
        Field(4, "font_size", "double"),
        Field(5, "text_color", "foxglove.Color"),
        Field(6, "background_color", "foxglove.Color"),
    ),
    "foxglove.CircleAnnotation": (
        Field(1, "timestamp", _STAMP),
        Field(2, "position", "foxglove.Point2"),
        Field(3, "diameter", "double"),
        Field(4, "thickness", "double"),
        Field(5, "fill_color", "foxglove.Color"),
        Field(6, "outline_color", "foxglove.Color"),
    ),
    "foxglove.ImageAnnotations": (
        Field(1, "circles", "foxglove.CircleAnnotation", True),
        Field(2, "points", "foxglove.PointsAnnotation", True),
        Field(3, "texts", "foxglove.TextAnnotation", True),
    ),
    "foxglove.Log": (
        Field(1, "timestamp", _STAMP),
        Field(2, "level", "enum Level"),
        Field(3, "message", "string"),
        Field(4, "name", "string"),
        Field(5, "file", "string"),
        Field(6, "line", "fixed32"),
    ),
}
"""Message name -> its fields."""

LINE_LOOP = 2
"""Value of PointsAnnotation.Type: the last point is joined with the first."""
LEVELS = {
    "DIAGNOSTIC": 1,
    "ACTIVITY_LO": 2,
    "ACTIVITY_HI": 2,
    "COMMAND": 2,
    "WARNING_LO": 3,
    "WARNING_HI": 4,
    "FATAL": 5,
}
"""Severity of an event -> value of Log.Level."""
_ENUMS = {
    "foxglove.PointsAnnotation": (
        "Type",
        ("UNKNOWN", "POINTS", "LINE_LOOP", "LINE_STRIP", "LINE_LIST"),
    ),
    "foxglove.Log": ("Level", ("UNKNOWN", "DEBUG", "INFO", "WARNING", "ERROR", "FATAL")),
}

# google/protobuf/descriptor.proto, as far as it is needed.
_DESCRIPTORS: Mapping[str, tuple[Field, ...]] = {
    "FileDescriptorSet": (Field(1, "file", "FileDescriptorProto", True),),
    "FileDescriptorProto": (
        Field(1, "name", "string"),
        Field(2, "package", "string"),
        Field(3, "dependency", "string", True),
        Field(4, "message_type", "DescriptorProto", True),
        Field(12, "syntax", "string"),
    ),
    "DescriptorProto": (
        Field(1, "name", "string"),
        Field(2, "field", "FieldDescriptorProto", True),
        Field(4, "enum_type", "EnumDescriptorProto", True),
    ),
    "FieldDescriptorProto": (
        Field(1, "name", "string"),
        Field(3, "number", "int32"),
        Field(4, "label", "enum Label"),
        Field(5, "type", "enum Type"),
        Field(6, "type_name", "string"),
    ),
    "EnumDescriptorProto": (
        Field(1, "name", "string"),
        Field(2, "value", "EnumValueDescriptorProto", True),
    ),
    "EnumValueDescriptorProto": (Field(1, "name", "string"), Field(2, "number", "int32")),
}
_TYPES = {"double": 1, "int64": 3, "int32": 5, "fixed32": 7, "string": 9, "bytes": 12}
_MESSAGE, _ENUM = 11, 14


def pack(message: str, values: Mapping[str, Any]) -> bytes:
    """Encode a message of `MESSAGES`; see `rille.recording.wire.encode`."""
    return encode(MESSAGES, message, values)


def unpack(message: str, data: bytes) -> dict[str, Any]:
    """Decode a message of `MESSAGES`.

    Raises:
        ValueError: the bytes are no such message.
    """
    return decode(MESSAGES, message, data)


def timestamp(at_ns: int) -> dict[str, int]:
    """Return nanoseconds since 1970 as a google.protobuf.Timestamp."""
    return {"seconds": at_ns // 1_000_000_000, "nanos": at_ns % 1_000_000_000}


def descriptor_set(message: str) -> bytes:
    """Return the FileDescriptorSet of a message and of all it is made of, these first."""
    files = [_file(name) for name in _needed(message)]
    return encode(_DESCRIPTORS, "FileDescriptorSet", {"file": files})


def _needed(message: str) -> list[str]:
    parts: list[str] = []
    for field in MESSAGES[message]:
        if field.kind in MESSAGES:
            parts += [name for name in _needed(field.kind) if name not in parts]
    return [*parts, message]


def _path(message: str) -> str:
    package, _, name = message.rpartition(".")
    return f"{package.replace('.', '/')}/{name if package == _PACKAGE else name.lower()}.proto"


def _file(message: str) -> dict[str, Any]:
    package, _, name = message.rpartition(".")
    uses = dict.fromkeys(f.kind for f in MESSAGES[message] if f.kind in MESSAGES)
    enums = []
    if message in _ENUMS:
        title, names = _ENUMS[message]
        enums = [{"name": title, "value": [_enum_value(*v) for v in enumerate(names)]}]
    fields = [_field(message, field) for field in MESSAGES[message]]
    return {
        "name": _path(message),
        "package": package,
        "dependency": sorted(_path(kind) for kind in uses),
        "message_type": [{"name": name, "field": fields, "enum_type": enums}],
        "syntax": "proto3",
    }


def _enum_value(number: int, name: str) -> dict[str, Any]:
    return {"name": name, "number": number}


def _field(message: str, field: Field) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": field.name,
        "number": field.number,
        "label": 3 if field.repeated else 1,
    }
    if field.kind.startswith("enum "):
        own = field.kind.partition(" ")[2]
        return {**facts, "type": _ENUM, "type_name": f".{message}.{own}"}
    if field.kind in MESSAGES:
        return {**facts, "type": _MESSAGE, "type_name": f".{field.kind}"}
    return {**facts, "type": _TYPES[field.kind]}
