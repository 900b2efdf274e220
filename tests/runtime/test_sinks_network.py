"""Datagrams and space packets: whole, bounded, numbered, and readable by others."""

from __future__ import annotations

import binascii
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spacepackets.ccsds import PacketId, PacketType, parse_space_packets
from spacepackets.ccsds.time import CcsdsTimeCodeId

from rille.ellipse import Ellipse
from rille.errors import ConfigError, SinkError, SourceError
from rille.events import KINDS, Event, EventLog, Severity
from rille.files import RecordFile
from rille.result import Feature, Result, State
from rille.sinks import open_sink
from rille.sinks.buffered import BufferedSink
from rille.sinks.ccsds import SpacePackets
from rille.sinks.packets import MAX_BYTES, decode_packet, event_packet, result_packet
from rille.sinks.udp import fitted

Make = Callable[..., Result]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        found.settimeout(10)
        yield found


def address(receiver: socket.socket) -> str:
    return f"127.0.0.1:{receiver.getsockname()[1]}"


def crowded(result: Make, count: int) -> Result:
    one = result(5)
    features = tuple(
        Feature("crater" if k % 2 else "stone", Ellipse(k, -k, 20, 15, 30.0), 1 - k / count)
        for k in range(count)
    )
    assert one.segmentation is not None
    return result(
        5,
        segmentation=type(one.segmentation)(
            mask=one.segmentation.mask,
            geometry=one.segmentation.geometry,
            features=features,
            coverage=0.5,
        ),
    )


def an_event(text: str = "late", **values: object) -> Event:
    event = EventLog().emit("FRAME_LATE", text, **values)
    assert event is not None
    return event


def test_datagrams_are_json_with_numbers(receiver: socket.socket, result: Make, lost: Make) -> None:
    sink = open_sink(f"udp://{address(receiver)}")
    sink.write(result(3))
    sink.event(an_event(frame=3))
    sink.write(lost(4, State.DROPPED))
    sink.close()
    records = [json.loads(receiver.recv(65536)) for _ in range(3)]
    assert [record["seq"] for record in records] == [0, 1, 2]
    assert records[0]["classification"]["label"] == "horizon" and "truncated" not in records[0]
    assert records[1]["event"] == "FRAME_LATE" and records[1]["values"] == {"frame": 3}
    assert records[2]["cause"] == "superseded"


def test_features_are_cut_to_fit(receiver: socket.socket, result: Make) -> None:
    sink = open_sink(f"udp://{address(receiver)}")
    sink.write(crowded(result, 500))
    sink.event(an_event("\x00" * 5000, more="y" * 5000))
    sink.close()
    data = receiver.recv(65536)
    assert 1250 < len(data) <= 1400
    record = json.loads(data)
    kept = record["segmentation"]["features"]
    assert len(kept) + record["truncated"] == 500 and len(kept) >= 4
    assert kept[0]["score"] == 1.0 and "left_out" not in record
    data = receiver.recv(65536)
    assert len(data) <= 1400 and json.loads(data)["event"] == "FRAME_LATE"


@given(st.integers(0, 60), st.text(max_size=3000), st.text(max_size=3000), st.integers(700, 1400))
def test_any_result_fits(result: Make, count: int, error: str, name: str, limit: int) -> None:
    record = {"seq": 1 << 40, **crowded(result, max(count, 1)).to_json()}
    record.update(error=error, name=name)
    before = json.dumps(record)
    data = fitted(record, limit)
    assert len(data) <= limit and json.dumps(record) == before
    found = json.loads(data)
    assert found["frame"] == 5 and found["state"] == "ok"
    if found.get("segmentation"):
        assert len(found["segmentation"]["features"]) + found.get("truncated", 0) == max(count, 1)


def test_nobody_listens_and_then_somebody_does(
    free_port: int, result: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rille.sinks.trouble._LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr("rille.sinks.trouble._STEADY_S", 0.3)
    log = EventLog(burst=1000)
    sink = BufferedSink(open_sink(f"udp://127.0.0.1:{free_port}"), "udp", log)
    end = time.monotonic() + 30
    index = 0

    def until(name: str) -> None:
        nonlocal index
        while name not in [event.id for event in log.recent]:
            assert time.monotonic() < end
            sink.write(result(index))
            index += 1
            time.sleep(0.005)

    until("SINK_FAILED")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", free_port))
        until("SINK_RETURNED")
        receiver.settimeout(10)
        assert json.loads(receiver.recv(65536))["state"] == "ok"
        sink.close()
    assert "nobody listens" in log.recent[0].text
    counts = sink.counts
    assert counts.failed >= 1 and counts.offered == index
    assert counts.offered == counts.written + counts.failed + counts.dropped


@pytest.mark.parametrize(
    ("uri", "error", "message"),
    [
        ("udp://127.0.0.1", ConfigError, "needs a host and a port"),
        ("udp://127.0.0.1:0", ConfigError, "a port from 1 to 65535"),
        ("udp://127.0.0.1:65536", ConfigError, "a port from 1 to 65535"),
        ("udp://127.0.0.1:port", ConfigError, "a port from 1 to 65535"),
        ("udp://127.0.0.1:5000/path", ConfigError, "needs a host and a port"),
        ("udp://[::1:5000", ConfigError, "not a URI"),
        ("udp://127.0.0.1:5000?ttl=3", ConfigError, "no option 'ttl'"),
        ("udp://", ConfigError, "a sink looks like"),
        ("udp://no-such-host.invalid:5000", SinkError, "the host no-such-host.invalid cannot"),
        (f"udp://{'a' * 70}.invalid:5000", SinkError, "cannot be found"),
        ("ccsds://127.0.0.1", ConfigError, "needs a host and a port"),
        ("ccsds:///no/such/folder/p.bin", SinkError, "p.bin: cannot be written"),
        ("ccsds:///tmp", SinkError, "/tmp: cannot be written"),
        ("ccsds:///tmp/p.bin?apid=2047", ConfigError, "apid must be a whole number from 0 to 2046"),
        ("ccsds:///tmp/p.bin?apid=5&event_apid=5", ConfigError, "must differ"),
        ("ccsds:///tmp/p.bin?apids=5", ConfigError, "did you mean 'apid'"),
        ("cscds:///tmp/p.bin", ConfigError, "did you mean 'ccsds'"),
    ],
)
def test_addresses_that_cannot_be(uri: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_sink(uri)


def test_a_stream_of_packets_parses_to_its_end(tmp_path: Path, result: Make, lost: Make) -> None:
    path = tmp_path / "p.bin"
    sink = open_sink(f"ccsds://{path}?apid=42&event_apid=77")
    for k in range(30):
        sink.write(crowded(result, 300) if k == 7 else result(k))
        if k % 3 == 0:
            sink.event(an_event(f"frame {k}", frame=k))
    sink.write(lost(30, State.FAILED))
    sink.close()
    data = path.read_bytes()
    ids = [PacketId(PacketType.TM, True, apid) for apid in (42, 77)]
    parsed = parse_space_packets(data, ids)
    assert parsed.scanned_bytes == len(data) and not parsed.skipped_ranges
    packets = [decode_packet(bytes(raw)) for raw in parsed.tm_list]
    assert max(map(len, parsed.tm_list)) <= MAX_BYTES
    results = [packet for packet in packets if packet.kind == "result"]
    events = [packet for packet in packets if packet.kind == "event"]
    assert {packet.apid for packet in results} == {42} and {p.apid for p in events} == {77}
    assert [packet.sequence for packet in results] == list(range(31))
    assert [packet.sequence for packet in events] == list(range(10))
    assert results[30].record["error"] == "damaged" and results[30].record["state"] == "failed"


def test_what_a_packet_says_is_what_the_result_said(result: Make) -> None:
    one = result(9, State.LATE, 61.5, shed=("segment",), quality=("dark", "frozen", "new"))
    packet = decode_packet(result_packet(one, 100, 16383))
    assert packet.sequence == 16383 and packet.kind == "result"
    assert abs(packet.time_ns - one.captured_ns) < 60
    record, said = packet.record, one.to_json()
    assert record["frame"] == 9 and record["state"] == "late" and record["age_ms"] == 61.5
    assert (
        record["deadline_ms"] == 50 and record["level"] == "full" and record["shed"] == ["segment"]
    )
    assert record["quality"] == ["dark", "frozen"] and record["size_px"] == [160, 120]
    for key in ("label", "label_id", "abstained"):
        assert record["classification"][key] == said["classification"][key]
    assert record["classification"]["probability"] == pytest.approx(0.91, abs=1e-4)
    (feature,) = record["segmentation"]["features"]
    for key, value in said["segmentation"]["features"][0].items():
        if key != "area_px":
            assert feature[key] == pytest.approx(value, abs=0.13 if key.endswith("px") else 0.005)


@given(
    st.sampled_from(sorted(KINDS)),
    st.sampled_from(Severity),
    st.integers(0, 1 << 40),
    st.integers(0, (1 << 62)),
    st.text(max_size=600),
    st.dictionaries(
        st.text(max_size=9), st.integers() | st.text(max_size=9) | st.floats(), max_size=5
    ),
)
def test_events_come_back(
    name: str, severity: Severity, serial: int, at_ns: int, text: str, values: dict[str, object]
) -> None:
    event = Event(
        id=name,
        severity=severity,
        serial=serial,
        at_ns=at_ns,
        text=text,
        values=values,
        held_back=3,
    )
    data = event_packet(event, 101, 5)
    packet = decode_packet(data)
    assert len(data) <= MAX_BYTES and packet.kind == "event"
    assert packet.record["event"] == name and packet.record["severity"] == severity.value
    assert packet.record["serial"] == serial % (1 << 32) and packet.record["held_back"] == 3
    whole = text.encode(errors="replace").decode()
    assert whole.startswith(packet.record["text"])
    assert packet.record["text"] == whole or len(whole.encode()) > 400
    assert (at_ns // 10**9) % (1 << 32) == packet.time_ns // 10**9
    assert 0 <= at_ns % 10**9 - packet.time_ns % 10**9 < 61


def test_features_are_cut_to_the_packet_and_counted(result: Make) -> None:
    found = decode_packet(result_packet(crowded(result, 300), 100, 0)).record["segmentation"]
    assert len(found["features"]) + found["truncated"] == 300 and len(found["features"]) > 80
    assert found["features"][3] == {
        "label": "crater",
        "x_px": 3.0,
        "y_px": -3.0,
        "semi_major_px": 20.0,
        "semi_minor_px": 15.0,
        "angle_deg": 30.0,
        "score": pytest.approx(0.99, abs=0.003),
    }


def test_numbers_out_of_range_are_held_at_its_ends(result: Make) -> None:
    far = Feature("crater", Ellipse(1e9, -1e9, 1e9, float("inf"), 1e6), float("nan"))
    one = crowded(result, 1)
    assert one.segmentation is not None
    object.__setattr__(one.segmentation, "features", (far,))
    (feature,) = decode_packet(result_packet(one, 100, 0)).record["segmentation"]["features"]
    assert feature["x_px"] == 8191.75 and feature["y_px"] == -8192.0
    assert feature["semi_minor_px"] == 16383.75 and feature["score"] == 0


def test_the_headers_are_those_of_the_standard(result: Make) -> None:
    """Byte by byte, without the library that built them (133.0-B-2 4.1, 301.0-B-4 3.2)."""
    data = result_packet(result(0), 0x123, 0x2ABC)
    assert data[0] == 0b000_0_1_001 and data[1] == 0x23  # version 0, telemetry, secondary header
    assert data[2:4] == bytes([0b11_101010, 0xBC])  # unsegmented
    assert int.from_bytes(data[4:6], "big") == len(data) - 7
    assert data[6] >> 4 == CcsdsTimeCodeId.CUC_AGENCY_EPOCH and data[6] & 0xF == 0b11_11
    assert data[7:14] == (1).to_bytes(4, "big") + bytes(3)  # captured one second after boot
    assert binascii.crc_hqx(b"123456789", 0xFFFF) == 0x29B1  # CRC-16-CCITT as ECSS and CCSDS use it
    assert binascii.crc_hqx(data, 0xFFFF) == 0


def test_sequence_counts_begin_anew_after_16383(tmp_path: Path) -> None:
    path = tmp_path / "p.bin"
    sink = SpacePackets(RecordFile(path))
    event = an_event()
    for _ in range(16386):
        sink.event(event)
    sink.close()
    size = len(event_packet(event, 101, 0))
    data = path.read_bytes()
    counts = [decode_packet(data[at : at + size]).sequence for at in range(0, len(data), size)]
    assert counts[16382:] == [16382, 16383, 0, 1]


@given(st.data())
def test_a_damaged_packet_is_refused(result: Make, data: st.DataObject) -> None:
    good = result_packet(result(0), 100, 0)
    spoilt = bytearray(good)
    for at in data.draw(st.lists(st.integers(0, len(good) - 1), min_size=1, max_size=2)):
        spoilt[at] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.integers(0, len(good)))
    for one in (bytes(spoilt), good[:cut], bytes(spoilt)[:cut]):
        if one != good:
            with pytest.raises(SourceError):
                decode_packet(one)


@given(st.binary(max_size=200), st.integers(0, 1))
def test_a_forged_packet_is_refused_or_decoded(body: bytes, kind: int) -> None:
    """With the right check sum and length, but anything inside: no other error, no hang."""
    inside = bytes([0b0_010_11_11]) + bytes(7) + bytes([1, kind]) + body
    head = bytes([0x08, 0x64, 0xC0, 0]) + (len(inside) + 1).to_bytes(2, "big")
    packet = head + inside
    packet += binascii.crc_hqx(packet, 0xFFFF).to_bytes(2, "big")
    try:
        assert decode_packet(packet).apid == 100
    except SourceError as wrong:
        assert "\n" not in str(wrong)


def test_packets_by_udp(receiver: socket.socket, result: Make) -> None:
    sink = open_sink(f"ccsds://{address(receiver)}?apid=7")
    sink.write(result(2))
    sink.event(an_event())
    sink.close()
    first, second = (decode_packet(receiver.recv(65536)) for _ in range(2))
    assert (first.apid, first.record["frame"]) == (7, 2)
    assert (second.apid, second.record["event"]) == (8, "FRAME_LATE")


def test_without_the_package_the_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['spacepackets'] = None\n"
        "from rille.sinks import open_sink\nfrom rille.errors import SinkError\n"
        f"try: open_sink('ccsds://{tmp_path}/p.bin')\n"
        "except SinkError as wrong: print(wrong)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT / "runtime")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert 'pip install "rille[ccsds]"' in done.stdout, done.stderr
    assert not list(tmp_path.iterdir())


def test_a_full_disk_takes_the_packet_back(tmp_path: Path, result: Make) -> None:
    with pytest.raises(SinkError, match="the disk is full"):
        SpacePackets(RecordFile(Path("/dev/full"))).write(result(0))
