"""What is recorded can be read again: by rille, by the reference reader, and after any accident."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from foxglove_schemas_protobuf import CompressedImage_pb2, ImageAnnotations_pb2, Log_pb2
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from mcap.reader import make_reader
from tests.runtime.recorded import START_NS, an_event, noise, record, unseen, worked

import rille
from rille.errors import ConfigError, SinkError, SourceError, SourceNotFoundError
from rille.images import decode_image
from rille.recording import open_recording, topics
from rille.recording.container import MAGIC
from rille.recording.write import RecordingWriter
from rille.result import State
from rille.sinks import open_sink


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty frames over three seconds, one grey, one lost, one undecodable, and an event."""
    results = [worked(k, colour=k != 4) for k in range(28)]
    results += [unseen(28, State.DROPPED), unseen(29, State.FAILED)]
    return record(tmp_path_factory.mktemp("run") / "run.mcap", results)


def test_everything_comes_back(run: Path) -> None:
    recording = open_recording(run)
    frames = list(recording.frames())
    assert recording.cut == ""
    assert [f.index for f in frames] == list(range(30))
    assert recording.about["pixels"] == "png"
    assert recording.config.startswith("[budget]")
    assert recording.stages == {"segment": {"name": "x"}}
    assert [e["event"] for e in recording.events] == ["FRAME_LATE"]
    for k in (0, 4, 27):
        original = worked(k, colour=k != 4)
        assert np.array_equal(frames[k].pixels(), noise(k, k != 4))
        assert frames[k].lossless
        assert original.segmentation is not None
        mask = frames[k].mask()
        assert mask is not None and np.array_equal(mask, original.segmentation.mask)
        assert frames[k].record["readings_ns"] == original.readings_ns
        assert frames[k].record["captured_ns"] == original.captured_ns
    assert frames[28].image is None and frames[28].record["cause"] == "missed"
    assert frames[29].record["error"] == "damaged"


def test_digests_tell_what_must_come_out_the_same(run: Path) -> None:
    digests = [f.record["digests"] for f in open_recording(run).frames()]
    assert set(digests[0]) == {"pixels", "logits", "mask", "features"}
    assert digests[0]["mask"] != digests[1]["mask"]
    assert digests[0]["logits"] != digests[1]["logits"]
    assert digests[0]["features"] == digests[1]["features"]  # the same crater in both
    assert digests[28] == {}


def test_the_reference_reader_and_the_embedded_schemas(run: Path) -> None:
    counts: dict[str, int] = {}
    with run.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None and summary.statistics is not None
        for schema, channel, message in reader.iter_messages():
            assert schema is not None
            counts[channel.topic] = counts.get(channel.topic, 0) + 1
            if channel.message_encoding == "json":
                jsonschema.validate(json.loads(message.data), json.loads(schema.data))
            else:
                parse(schema.name, schema.data, message.data)
    assert counts == {
        topics.IMAGE: 28,
        topics.MASK: 28,
        topics.ANNOTATIONS: 28,
        topics.RESULT: 30,
        topics.LOG: 1,
        topics.EVENTS: 1,
    }


def parse(name: str, descriptors: bytes, data: bytes) -> Any:
    """Parse a message as a reader does that knows nothing but the channel's own description."""
    pool = descriptor_pool.DescriptorPool()
    for file in FileDescriptorSet.FromString(descriptors).file:
        pool.AddSerializedFile(file.SerializeToString())
    message: Any = message_factory.GetMessageClass(pool.FindMessageTypeByName(name))()
    message.ParseFromString(data)
    message.DiscardUnknownFields()
    assert message.SerializeToString()
    return message


def test_messages_are_the_published_ones(run: Path) -> None:
    """Parsed by the classes that Foxglove publishes."""
    published: dict[str, Any] = {
        topics.IMAGE: CompressedImage_pb2.CompressedImage,
        topics.ANNOTATIONS: ImageAnnotations_pb2.ImageAnnotations,
        topics.LOG: Log_pb2.Log,
    }
    first: dict[str, Any] = {}
    with run.open("rb") as file:
        for _, channel, message in make_reader(file).iter_messages():
            if channel.topic in published:
                first.setdefault(channel.topic, published[channel.topic].FromString(message.data))
    image, notes, log = (first[topic] for topic in published)
    assert image.format == "png" and image.frame_id == "camera"
    assert np.array_equal(decode_image(image.data, "x"), noise(0))
    assert notes.points[0].type == notes.points[0].LINE_LOOP
    outline = np.array([(p.x, p.y) for p in notes.points[0].points])
    assert outline.mean(axis=0) == pytest.approx([16, 12], abs=1e-3)
    assert [t.text for t in notes.texts] == ["crater 0.80", "plain 0.75"]
    assert log.level == log.WARNING and log.name == "FRAME_LATE"
    assert image.timestamp.seconds > 1_700_000_000  # a date, not seconds since the machine started


def test_small_recordings(tmp_path: Path) -> None:
    results = [worked(k) for k in range(3)]
    lossy = open_recording(record(tmp_path / "a.mcap", results, jpeg=80))
    bare = open_recording(record(tmp_path / "b.mcap", results, pixels=False))
    frames = list(lossy.frames())
    assert not frames[0].lossless and frames[0].pixels().shape == (24, 32, 3)
    assert all(f.image is None for f in bare.frames())
    with pytest.raises(SourceError, match="its pixels were not recorded"):
        next(bare.frames()).pixels()


def test_frames_that_the_recorder_missed_are_counted(tmp_path: Path) -> None:
    path = record(tmp_path / "r.mcap", [worked(k) for k in (3, 4, 8, 6)])
    recording = open_recording(path)
    list(recording.frames())
    assert recording.missing == 2


def test_as_a_sink(tmp_path: Path) -> None:
    sink = open_sink(f"mcap://{tmp_path / 'r.mcap'}?jpeg=70")
    sink.write(worked(0))
    sink.close()
    sink.close()
    sink.write(worked(1))  # after its end: nothing
    assert [f.index for f in open_recording(tmp_path / "r.mcap").frames()] == [0]
    for wrong, match in (("jpeg=0", "jpeg must be"), ("jepg=3", "did you mean 'jpeg'")):
        with pytest.raises(ConfigError, match=match):
            open_sink(f"mcap://{tmp_path / 'r.mcap'}?{wrong}")
    with pytest.raises(SinkError, match="cannot be written"):
        open_sink(f"mcap://{tmp_path / 'absent' / 'r.mcap'}")


def test_a_full_disk_is_named() -> None:
    with pytest.raises(SinkError, match="/dev/full: cannot be written: the disk is full"):
        open_sink("mcap:///dev/full")


def test_a_disk_that_fills_leaves_whole_records(tmp_path: Path) -> None:
    """A limit on the file's size stands for the full disk."""
    path = tmp_path / "r.mcap"
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from tests.runtime.recorded import worked\n"
        "from rille.recording.write import RecordingWriter\n"
        "from rille.errors import SinkError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000))\n"
        f"writer = RecordingWriter(Path({str(path)!r}))\n"
        "try:\n"
        "    for k in range(200): writer.write(worked(k))\n"
        "except SinkError as wrong: print(wrong); writer.close(); sys.exit(7)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env=_paths(), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 7, ended.stderr
    recording = open_recording(path)
    assert len(list(recording.frames())) >= 5
    assert recording.cut.endswith("0 bytes after the last whole record are lost")


def _paths() -> dict[str, str]:
    here = Path(__file__).resolve().parents[2]
    package = Path(rille.__file__).resolve().parent.parent
    return {**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{package}"}


def test_a_killed_recorder(tmp_path: Path) -> None:
    """SIGKILL loses at most the frames of the last second."""
    path = tmp_path / "r.mcap"
    code = (
        "import time; from pathlib import Path\n"
        "from tests.runtime.recorded import worked\n"
        "from rille.recording.write import RecordingWriter\n"
        f"writer = RecordingWriter(Path({str(path)!r}))\n"
        "for k in range(45): writer.write(worked(k))\n"
        "print('written', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], env=_paths(), stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "written\n"
        child.send_signal(signal.SIGKILL)
    recording = open_recording(path)
    indices = [f.index for f in recording.frames()]
    assert indices == list(range(len(indices))) and len(indices) >= 35  # 10 frames a second
    assert "the end of the file is missing" in recording.cut


def test_a_cut_anywhere_gives_a_sound_beginning(run: Path, tmp_path: Path) -> None:
    whole = run.read_bytes()
    expected = [f.record for f in open_recording(run).frames()]
    path = tmp_path / "cut.mcap"
    fewest, most = 30, 0
    for size in [*range(8, 2000, 97), *range(2000, len(whole), 499), len(whole) - 1]:
        path.write_bytes(whole[:size])
        try:
            recording = open_recording(path)
        except SourceError as wrong:
            assert size < 1000, wrong  # before the metadata it is no recording yet
            continue
        found = [f.record for f in recording.frames()]
        assert found == expected[: len(found)]
        # From the end of the data on, everything is there.
        assert recording.cut or len(found) == 30
        fewest, most = min(fewest, len(found)), max(most, len(found))
    assert fewest == 0 and most == 30


def test_zeros_after_a_power_cut(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.mcap"
    whole = run.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    before = len(list(open_recording(path).frames()))
    # Cut at a record's end: what the file system adds then begins a record.
    recording = open_recording(path)
    list(recording.frames())
    lost = int(recording.cut.split("; ")[1].split()[0])
    path.write_bytes(whole[: len(whole) // 2 - lost] + bytes(5000))
    recording = open_recording(path)
    assert len(list(recording.frames())) == before
    assert "5000 bytes" in recording.cut


def test_flipped_bits_are_noticed_or_harmless(run: Path, tmp_path: Path) -> None:
    """Every answer is the recorded one; what cannot be trusted is an error of one line."""
    whole = run.read_bytes()
    expected = [f.record for f in open_recording(run).frames()]
    dice = random.Random(5)
    path = tmp_path / "flipped.mcap"
    noticed = 0
    for _ in range(250):
        spoiled = bytearray(whole)
        for _ in range(dice.choice((1, 1, 3))):
            spoiled[dice.randrange(len(spoiled))] ^= 1 << dice.randrange(8)
        path.write_bytes(spoiled)
        found = []
        try:
            for frame in open_recording(path).frames():
                found.append(frame.record)
        except SourceError as wrong:
            noticed += 1
            assert "\n" not in str(wrong) and str(path) in str(wrong)
        assert found == expected[: len(found)]
    assert noticed > 200


def test_random_pieces(run: Path, tmp_path: Path) -> None:
    """Blocks of junk, zeros and repeats; lengths that claim gigabytes."""
    whole = run.read_bytes()
    dice = random.Random(6)
    path = tmp_path / "junk.mcap"
    began = time.monotonic()
    for turn in range(150):
        spoiled = bytearray(whole)
        at = dice.randrange(len(spoiled))
        size = dice.choice((1, 8, 64, 900))
        spoiled[at : at + size] = (
            dice.randbytes(size),
            bytes(size),
            b"\xff" * size,
            whole[at : at + size] * 2,
            b"",
        )[turn % 5]
        path.write_bytes(spoiled)
        with contextlib.suppress(SourceError):
            list(open_recording(path).frames())
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "not an MCAP file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not an MCAP file"),
        (MAGIC + b"\x06" + (1 << 62).to_bytes(8, "little"), "bytes, refused"),
        (MAGIC + b"\x11" + bytes(8), "there is no record of kind 17"),
        (MAGIC + bytes(3), "not a recording made by rille"),
        (MAGIC + b"\x06" + (30).to_bytes(8, "little") + b"\xff" * 30, "damaged at byte"),
    ],
)
def test_wrong_files(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "x.mcap"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=match):
        open_recording(path)


def test_a_chunk_that_would_fill_the_memory(tmp_path: Path) -> None:
    """Both the stated size and the size inside the packed data are held against the cap."""
    import struct

    import lz4.frame
    import zstandard

    for name, packed in (
        ("zstd", zstandard.compress(bytes(50_000_000))),
        ("lz4", lz4.frame.compress(bytes(50_000_000))),
    ):
        for stated in (1000, 1 << 40):
            head = struct.pack("<QQQI", 0, 0, stated, 0)
            title = struct.pack("<I", len(name)) + name.encode()
            body = head + title + struct.pack("<Q", len(packed)) + packed
            path = tmp_path / "bomb.mcap"
            path.write_bytes(MAGIC + b"\x06" + struct.pack("<Q", len(body)) + body)
            with pytest.raises(SourceError, match=r"damaged at byte 17|refused"):
                open_recording(path)


def test_other_places(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="no such file"):
        open_recording(tmp_path / "absent.mcap")
    with pytest.raises(SourceError, match="cannot be read"):
        open_recording(tmp_path)


def test_without_the_extra(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['mcap'] = None\n"
        "from rille.sinks import open_sink\n"
        f"open_sink('mcap://{tmp_path}/r.mcap')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env=_paths(), capture_output=True, text=True, check=False
    )
    assert 'pip install "rille[record]"' in ended.stderr.splitlines()[-1]


def test_times_are_dates_and_never_negative(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "r.mcap")
    writer.event(an_event(3))
    writer.write(worked(0))
    writer.close()
    recording = open_recording(tmp_path / "r.mcap")
    offset = int(recording.about["clock_offset_ns"])
    with (tmp_path / "r.mcap").open("rb") as file:
        logged = [m.log_time for _, _, m in make_reader(file).iter_messages(log_time_order=False)]
    assert logged[0] == START_NS + 3 + offset and logged[-1] == START_NS + offset
