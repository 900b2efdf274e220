"""Foxglove's messages are the published ones, and bytes from anywhere are parsed or refused."""

from __future__ import annotations

import contextlib

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from hypothesis import given
from hypothesis import strategies as st

from rille.recording.foxglove import MESSAGES, descriptor_set, pack, timestamp, unpack
from rille.recording.wire import decode


@pytest.mark.parametrize("name", [m for m in MESSAGES if m.startswith("foxglove.")])
def test_descriptions_agree_with_the_published_ones(name: str) -> None:
    module = __import__(f"foxglove_schemas_protobuf.{name[9:]}_pb2", fromlist=["x"])
    published = module.DESCRIPTOR.message_types_by_name[name[9:]]
    ours = FileDescriptorSet.FromString(descriptor_set(name)).file[-1]
    for field in ours.message_type[0].field:
        theirs = published.fields_by_name[field.name]
        kind = theirs.message_type or theirs.enum_type
        assert (field.number, field.type) == (theirs.number, theirs.type)
        assert field.type_name == (f".{kind.full_name}" if kind else "")
        assert (field.label == field.LABEL_REPEATED) == theirs.is_repeated
    for kind in ours.message_type[0].enum_type:
        names = published.enum_types_by_name[kind.name].values_by_name
        assert {v.name: v.number for v in kind.value} == {n: v.number for n, v in names.items()}


@given(st.binary(max_size=40), st.text(max_size=10), st.integers(0, 2**62))
def test_the_wire_format_goes_both_ways(data: bytes, text: str, at_ns: int) -> None:
    stamp = timestamp(at_ns)
    values = {"timestamp": stamp, "data": data, "format": text, "frame_id": "camera"}
    back = unpack("foxglove.CompressedImage", pack("foxglove.CompressedImage", values))
    assert back.get("data", b"") == data and back.get("format", "") == text
    assert {"seconds": 0, "nanos": 0, **back.get("timestamp", {})} == stamp


@given(st.binary(max_size=60))
def test_bytes_from_anywhere_parse_or_are_refused(data: bytes) -> None:
    for name in MESSAGES:
        with contextlib.suppress(ValueError):
            decode(MESSAGES, name, data)
