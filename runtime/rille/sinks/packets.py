"""Results and events as CCSDS space packets (133.0-B-2), built and taken apart with `spacepackets`.

All numbers are big-endian. `runtime/README.md` shows the layout as a table. Time is a CCSDS
unsegmented code (CUC, 301.0-B-4) on an agency-defined epoch: the boot of the machine, on its
monotonic clock; it is not UTC.
"""

from __future__ import annotations

import binascii
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rille.errors import SinkError, SourceError
from rille.events import KINDS, Severity
from rille.result import State
from rille.sinks.jsonl import event_record, json_bytes

if TYPE_CHECKING:
    from rille.events import Event
    from rille.result import Feature, Result

VERSION = 1
MAX_BYTES = 1400
LAST_APID = 2046
"""2047 marks idle packets."""
SEQUENCE_COUNTS = 1 << 14
QUALITY_BITS = (
    "dark",
    "saturated",
    "flat",
    "blurred",
    "frozen",
    "occluded",
    "out-of-order",
    "sun-inferred",
    "sun-contradicted",
)
"""Flags of `rille.quality` by bit; any other one sets bit 15."""

_P_FIELD = 0b0_010_11_11  # CUC, agency-defined epoch, 4 octets of seconds, 3 of their fraction
_BYTE, _SHORT = struct.Struct(">B"), struct.Struct(">H")
_HEADER = struct.Struct(">BI3s")
_RESULT = struct.Struct(">BBIIfHHHB")
_CLASS = struct.Struct(">hHH")
_SEGMENTS = struct.Struct(">HHB")
_FEATURE = struct.Struct(">BhhHHhB")
_EVENT = struct.Struct(">HBII")
_STATES, _SEVERITIES = tuple(State), tuple(Severity)
_CRC_BYTES, _PRIMARY_BYTES = 2, 6
_CLASSIFIED, _ABSTAINED, _SEGMENTED, _SCORED = 1, 2, 4, 8
_TEXT_BYTES, _EVENT_TEXT_BYTES, _VALUES_BYTES = 63, 400, 600
_RESULT_KIND, _EVENT_KIND = 0, 1
_SCORE_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet, taken apart.

    Attributes:
        apid: the application it is of.
        sequence: its number within that application, 0 to 16383.
        time_ns: when, in nanoseconds since the boot of the machine, to 60 ns.
        kind: "result" or "event".
        record: what it holds, by name; see `runtime/README.md`.
    """

    apid: int
    sequence: int
    time_ns: int
    kind: str
    record: dict[str, Any]


def library(error: type[SinkError] | type[SourceError]) -> Any:
    """Import the module `spacepackets.ccsds`.

    Raises:
        error: it is not installed; says how to.
    """
    try:
        import spacepackets.ccsds as found
    except ImportError:
        raise error(
            'CCSDS packets need the package spacepackets: pip install "rille[ccsds]" brings it'
        ) from None
    return found


def result_packet(result: Result, apid: int, sequence: int) -> bytes:
    """Return a result as a packet of at most `MAX_BYTES`; features that do not fit are left out."""
    c, s = result.classification, result.segmentation
    flags = (_CLASSIFIED if c else 0) | (_SEGMENTED if s else 0)
    flags |= _ABSTAINED if c and c.abstained else 0
    # Behind everything else, where a receiver that does not know it looks at nothing.
    tail = b"" if c is None or c.ood_score is None else _score(c.ood_score)
    flags |= _SCORED if tail else 0
    width, height = (result.frame.width, result.frame.height) if result.frame else (0, 0)
    body = _RESULT.pack(
        _RESULT_KIND,
        _STATES.index(result.state),
        result.index & 0xFFFFFFFF,
        _within(result.age_ms * 1000, 0, 0xFFFFFFFF),
        result.deadline_ms,
        _quality(result.quality),
        _within(width, 0, 0xFFFF),
        _within(height, 0, 0xFFFF),
        flags,
    )
    for text in (result.level, ",".join(result.shed), result.cause or "", result.error or ""):
        body += _text(text)
    if c:
        body += _CLASS.pack(
            _within(c.label_id, -0x8000, 0x7FFF), _share(c.probability), _share(c.entropy)
        )
        body += _text(c.label)
    if s:
        room = MAX_BYTES - _overhead() - len(body) - len(tail)
        body += _features(s.coverage, s.features, room)
    return _packet(apid, sequence, result.captured_ns, body + tail)


def event_packet(event: Event, apid: int, sequence: int) -> bytes:
    """Return an event as a packet; a long text is cut, values that do not fit are left out."""
    body = bytes([_EVENT_KIND]) + _EVENT.pack(
        event.number,
        _SEVERITIES.index(event.severity),
        event.serial & 0xFFFFFFFF,
        _within(event.held_back, 0, 0xFFFFFFFF),
    )
    values = json_bytes(event_record(event)["values"])
    for data, limit in ((_cut(event.text, _EVENT_TEXT_BYTES), 0xFFFF), (values, _VALUES_BYTES)):
        kept = data if len(data) <= limit else b""
        body += _SHORT.pack(len(kept)) + kept
    return _packet(apid, sequence, event.at_ns, body)


def decode_packet(data: bytes) -> Packet:
    """Take one whole packet apart.

    Args:
        data: from the first byte of its primary header to the last of its check sum.

    Raises:
        SourceError: it is too short or too long for its header, its check sum is wrong, or it is
            not one of rille's.
    """
    header = library(SourceError)
    if len(data) < _overhead() + 1:
        raise SourceError(f"a packet of {len(data)} bytes is too short to be one of rille's")
    primary = header.SpacePacketHeader.unpack(data[:_PRIMARY_BYTES])
    if primary.packet_len != len(data):
        raise SourceError(f"a packet of {len(data)} bytes says it has {primary.packet_len}")
    if binascii.crc_hqx(data, 0xFFFF):
        raise SourceError(f"packet {primary.seq_count} of APID {primary.apid}: damaged (check sum)")
    p_field, seconds, fraction = _HEADER.unpack_from(data, _PRIMARY_BYTES)
    reader = _Reader(data[_PRIMARY_BYTES + _HEADER.size : -_CRC_BYTES])
    version = reader.take(_BYTE)[0]
    if p_field != _P_FIELD or not primary.sec_header_flag or version != VERSION:
        raise SourceError(f"packet {primary.seq_count} of APID {primary.apid}: not one of rille's")
    kind = reader.peek()
    if kind not in (_RESULT_KIND, _EVENT_KIND):
        raise SourceError(f"packet {primary.seq_count} of APID {primary.apid}: of unknown kind")
    record = _read_event(reader) if kind == _EVENT_KIND else _read_result(reader)
    return Packet(
        apid=primary.apid,
        sequence=primary.seq_count,
        time_ns=seconds * 1_000_000_000 + (int.from_bytes(fraction, "big") * 10**9 >> 24),
        kind="event" if kind == _EVENT_KIND else "result",
        record=record,
    )


def _packet(apid: int, sequence: int, time_ns: int, body: bytes) -> bytes:
    """Put headers before a body and the check sum behind it."""
    ccsds = library(SinkError)
    data = bytes([VERSION]) + body
    seconds, rest = divmod(time_ns, 1_000_000_000)
    fraction = ((rest << 24) // 1_000_000_000).to_bytes(3, "big")
    secondary = _HEADER.pack(_P_FIELD, seconds & 0xFFFFFFFF, fraction)
    header = ccsds.SpacePacketHeader.tm(
        apid=apid,
        seq_count=sequence,
        data_len=len(secondary) + len(data) + _CRC_BYTES - 1,
        sec_header_flag=True,
    )
    packet = bytes(ccsds.SpacePacket(header, secondary, data).pack())
    return packet + _SHORT.pack(binascii.crc_hqx(packet, 0xFFFF))


def _overhead() -> int:
    return _PRIMARY_BYTES + _HEADER.size + 1 + _CRC_BYTES


def _features(coverage: float, features: tuple[Feature, ...], room: int) -> bytes:
    """Return coverage, number of features, their labels, and as many of them as fit."""
    labels = list(dict.fromkeys(feature.label for feature in features))[:16]
    names = bytes([len(labels)]) + b"".join(_text(label) for label in labels)
    fitting = max(0, (room - _SEGMENTS.size - len(names)) // _FEATURE.size)
    kept = [f for f in features if f.label in labels][: min(fitting, 255)]
    body = _SEGMENTS.pack(_share(coverage), _within(len(features), 0, 0xFFFF), len(kept)) + names
    for feature in kept:
        e = feature.ellipse
        body += _FEATURE.pack(
            labels.index(feature.label),
            _within(e.x * 4, -0x8000, 0x7FFF),
            _within(e.y * 4, -0x8000, 0x7FFF),
            _within(e.semi_major * 4, 0, 0xFFFF),
            _within(e.semi_minor * 4, 0, 0xFFFF),
            _within(e.angle_deg * 100, -0x8000, 0x7FFF),
            _within(feature.score * 255, 0, 255),
        )
    return body


def _read_result(reader: _Reader) -> dict[str, Any]:
    _, state, index, age_us, deadline_ms, quality, width, height, flags = reader.take(_RESULT)
    if state >= len(_STATES):
        raise SourceError(f"a packet names the state {state}, which there is not")
    level, shed, cause, error = (reader.text() for _ in range(4))
    record: dict[str, Any] = {
        "frame": index,
        "state": _STATES[state].value,
        "age_ms": age_us / 1000,
        "deadline_ms": deadline_ms,
        "quality": [name for bit, name in enumerate(QUALITY_BITS) if quality >> bit & 1],
        "size_px": [width, height],
        "level": level,
        "shed": shed.split(",") if shed else [],
        "cause": cause,
        "error": error,
        "classification": None,
        "segmentation": None,
    }
    if flags & _CLASSIFIED:
        label_id, probability, entropy = reader.take(_CLASS)
        record["classification"] = {
            "label": reader.text(),
            "label_id": label_id,
            "probability": probability / 0xFFFF,
            "entropy": entropy / 0xFFFF,
            "abstained": bool(flags & _ABSTAINED),
        }
    if flags & _SEGMENTED:
        record["segmentation"] = _read_features(reader)
    if flags & _SCORED and flags & _CLASSIFIED:
        score = reader.take(_SHORT)[0]
        record["classification"]["ood_score"] = score / _SCORE_STEPS
        record["classification"]["out_of_distribution"] = score > _SCORE_STEPS
    return record


def _read_features(reader: _Reader) -> dict[str, Any]:
    coverage, found, count = reader.take(_SEGMENTS)
    labels = [reader.text() for _ in range(reader.take(_BYTE)[0])]
    features = []
    for _ in range(count):
        label, x, y, semi_major, semi_minor, angle, score = reader.take(_FEATURE)
        if label >= len(labels):
            raise SourceError(f"a packet names the label {label} of {len(labels)}")
        features.append(
            {
                "label": labels[label],
                "x_px": x / 4,
                "y_px": y / 4,
                "semi_major_px": semi_major / 4,
                "semi_minor_px": semi_minor / 4,
                "angle_deg": angle / 100,
                "score": score / 255,
            }
        )
    return {"coverage": coverage / 0xFFFF, "truncated": found - count, "features": features}


def _read_event(reader: _Reader) -> dict[str, Any]:
    reader.take(_BYTE)
    number, severity, serial, held_back = reader.take(_EVENT)
    names = {kind.number: name for name, kind in KINDS.items()}
    if number not in names or severity >= len(_SEVERITIES):
        raise SourceError(f"a packet names event {number} of severity {severity}, unknown here")
    text, values = reader.long().decode(errors="replace"), reader.long()
    try:
        table = json.loads(values or b"{}")
    except (ValueError, RecursionError):
        raise SourceError("an event's values are not valid JSON") from None
    return {
        "event": names[number],
        "severity": _SEVERITIES[severity].value,
        "serial": serial,
        "held_back": held_back,
        "text": text,
        "values": table,
    }


class _Reader:
    """Takes fields from the front of bytes that cannot be trusted."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def peek(self) -> int:
        return self._data[self._at] if self._at < len(self._data) else -1

    def take(self, form: struct.Struct) -> tuple[Any, ...]:
        return form.unpack(self._bytes(form.size))

    def text(self) -> str:
        return self._bytes(self.take(_BYTE)[0]).decode(errors="replace")

    def long(self) -> bytes:
        return self._bytes(self.take(_SHORT)[0])

    def _bytes(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        if len(found) < count:
            raise SourceError("a packet ends in the middle of a field")
        self._at += count
        return found


def _quality(flags: tuple[str, ...]) -> int:
    known = sum(1 << QUALITY_BITS.index(flag) for flag in flags if flag in QUALITY_BITS)
    return known | (0x8000 if set(flags) - set(QUALITY_BITS) else 0)


def _score(score: float) -> bytes:
    """Return a score in steps of 1/1000, rounded to the side of 1 on which it is."""
    steps = _within(score * _SCORE_STEPS, 0, 0xFFFF)
    return _SHORT.pack(max(steps, _SCORE_STEPS + 1) if score > 1.0 else steps)


def _text(text: str) -> bytes:
    data = _cut(text, _TEXT_BYTES)
    return bytes([len(data)]) + data


def _cut(text: str, limit: int) -> bytes:
    """Return the start of a text as at most `limit` bytes of UTF-8, no character cut in two."""
    return text.encode(errors="replace")[:limit].decode(errors="ignore").encode()


def _share(value: float) -> int:
    return _within(value * 0xFFFF, 0, 0xFFFF)


def _within(value: float, low: int, high: int) -> int:
    """Return the nearest whole number within [low, high]; `low` for what is not a number."""
    return low if value != value else round(max(low, min(high, value)))
