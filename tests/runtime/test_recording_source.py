"""Recordings as sources: rille's own, with their indices and stamps, and those of others."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.writer import CompressionType, Writer
from tests.runtime.recorded import noise, record, unseen, worked

from rille.errors import ConfigError, FrameDecodeError, SourceError
from rille.recording.foxglove import descriptor_set, pack
from rille.recording.messages import encode_image
from rille.result import State
from rille.sources import open_source
from rille.vehicle import Vehicle


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Frames 3, 4, 7 and 8; 5 and 6 were dropped."""
    results = [worked(3), worked(4, colour=False), unseen(5, State.DROPPED)]
    results += [unseen(6, State.DROPPED), worked(7), worked(8)]
    return record(tmp_path / "run.mcap", results)


def test_frames_keep_indices_names_and_stamps(run: Path) -> None:
    with open_source(f"mcap://{run}") as source:
        assert not source.realtime and source.index == 3
        frames = list(source)
    assert [f.index for f in frames] == [3, 4, 7, 8]
    assert [f.source_ns for f in frames] == [3000, 4000, 7000, 8000]
    assert frames[0].name == "noise 3"
    assert np.array_equal(frames[1].pixels, noise(4, colour=False))
    assert abs(frames[0].captured_ns - time.monotonic_ns()) < 60e9
    with open_source(f"mcap://{run}?limit=2") as source:
        assert len(list(source)) == 2


def test_frames_carry_what_the_vehicle_knew(tmp_path: Path) -> None:
    first, knew = worked(0), Vehicle(sun_azimuth_deg=12.5, exposure_ms=3.0, pose={"x_m": 1.5})
    assert first.frame is not None
    told = replace(first, frame=replace(first.frame, vehicle=knew))
    path = record(tmp_path / "run.mcap", [told, worked(1)])
    with open_source(f"mcap://{path}") as source:
        assert [frame.vehicle for frame in source] == [knew, None]
    with open_source(f"mcap://{path}?vehicle=0") as source:
        assert [frame.vehicle for frame in source] == [None, None]


def test_as_it_was_recorded_but_faster(run: Path) -> None:
    """Five periods of 100 ms at ten times the speed; the gap is kept."""
    with open_source(f"mcap://{run}?speed=10") as source:
        assert source.realtime and source.fps == pytest.approx(100)
        times = [(f.index, f.captured_ns) for f in source]
    start = times[0][1]
    assert [i for i, _ in times] == [3, 4, 7, 8]
    for index, at in times:
        assert (at - start) / 1e6 >= (index - 3) * 10 - 0.1


def test_a_damaged_image_is_one_failed_frame(tmp_path: Path) -> None:
    path = foreign(tmp_path / "x.mcap", [b"junk", encode_image(noise(1))])
    with open_source(f"mcap://{path}") as source:
        with pytest.raises(FrameDecodeError, match="not a complete image") as caught:
            source.read(1.0)
        assert caught.value.index == 0
        frame = source.read(1.0)
        assert frame is not None and frame.index == 1
        assert source.read(1.0) is None and source.ended


def test_damage_in_the_middle_comes_after_what_is_sound(tmp_path: Path) -> None:
    path = record(tmp_path / "run.mcap", [worked(k) for k in range(40)])
    spoiled = bytearray(path.read_bytes())
    spoiled[len(spoiled) * 3 // 5] ^= 1
    path.write_bytes(spoiled)
    seen = 0
    with (
        pytest.raises(SourceError, match="damaged at byte"),
        open_source(f"mcap://{path}") as source,
    ):
        while source.read(1.0) is not None:
            seen += 1
    assert seen >= 10


def foreign(path: Path, images: list[bytes], topics: tuple[str, ...] = ("/cam",)) -> Path:
    """What another program writes: CompressedImage as JSON, in lz4 chunks."""
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.LZ4)
        writer.start()
        kind = writer.register_schema("foxglove.CompressedImage", "jsonschema", b"{}")
        channels = [writer.register_channel(topic, "json", kind) for topic in topics]
        for k, image in enumerate(images):
            text = {"format": "png", "data": base64.b64encode(image).decode()}
            for channel in channels:
                writer.add_message(channel, k * 50_000_000, json.dumps(text).encode(), 0)
        writer.finish()
    return path


def test_files_of_others(tmp_path: Path) -> None:
    path = foreign(tmp_path / "x.mcap", [encode_image(noise(k)) for k in range(3)], ("/a", "/b"))
    with pytest.raises(ConfigError, match="choose one with topic=: /a, /b"):
        open_source(f"mcap://{path}")
    with pytest.raises(ConfigError, match="no images on /c"):
        open_source(f"mcap://{path}?topic=/c")
    with open_source(f"mcap://{path}?topic=/b&speed=2") as source:
        assert source.fps == pytest.approx(40)
        frames = list(source)
    assert [f.index for f in frames] == [0, 1, 2]
    assert frames[2].source_ns == 100_000_000
    assert np.array_equal(frames[2].pixels, noise(2))


@pytest.mark.parametrize(
    ("encoding", "channels"), [("rgb8", 3), ("bgr8", 3), ("rgba8", 4), ("mono8", 1)]
)
def test_raw_images(tmp_path: Path, encoding: str, channels: int) -> None:
    """Rows with three bytes of padding."""
    picture = noise(5)
    wide = {
        "rgb8": picture,
        "bgr8": picture[:, :, ::-1],
        "rgba8": np.dstack([picture, picture[:, :, 0]]),
        "mono8": picture[:, :, :1],
    }[encoding]
    rows = np.pad(wide.reshape(24, -1), ((0, 0), (0, 3)))
    fields = {"width": 32, "height": 24, "encoding": encoding, "data": rows.tobytes()}
    path = raw(tmp_path / "r.mcap", [{**fields, "step": 32 * channels + 3}])
    with open_source(f"mcap://{path}") as source:
        frame = source.read(1.0)
    assert frame is not None
    assert np.array_equal(frame.pixels, picture[:, :, 0] if channels == 1 else picture)


def raw(path: Path, images: list[dict[str, Any]]) -> Path:
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.NONE)
        writer.start()
        name = "foxglove.RawImage"
        kind = writer.register_schema(name, "protobuf", descriptor_set(name))
        channel = writer.register_channel("/raw", "protobuf", kind)
        for fields in images:
            writer.add_message(channel, 0, pack(name, fields), 0)
        writer.finish()
    return path


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"encoding": "16UC1", "width": 4, "height": 4}, "encoding '16UC1' is not supported"),
        ({"encoding": "rgb8", "width": 4, "height": 4, "data": b"12"}, "do not fit 2 bytes"),
        ({"encoding": "rgb8", "width": 2**31, "height": 2**31}, "do not fit"),
        ({"encoding": "mono8", "width": 4, "height": 1, "step": 2**32 - 1}, "do not fit"),
    ],
)
def test_hostile_raw_images(tmp_path: Path, fields: dict[str, Any], match: str) -> None:
    with (
        open_source(f"mcap://{raw(tmp_path / 'r.mcap', [fields])}") as source,
        pytest.raises(FrameDecodeError, match=match),
    ):
        source.read(1.0)


def test_what_cannot_be_played_says_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "ros.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start(profile="ros2")
        kind = writer.register_schema("sensor_msgs/msg/Image", "ros2msg", b"")
        channel = writer.register_channel("/camera", "cdr", kind)
        writer.add_message(channel, 0, b"", 0)
        writer.finish()
    with pytest.raises(SourceError, match=r"there is /camera \(sensor_msgs/msg/Image, cdr\)"):
        open_source(f"mcap://{path}")
    with pytest.raises(ConfigError, match="contradict each other"):
        open_source(f"mcap://{path}?fps=3&speed=2")
