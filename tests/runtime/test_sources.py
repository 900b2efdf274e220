"""Folders, videos, the simulator: frames in order, damage contained, bad names explained."""

from __future__ import annotations

import shutil
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from rille.errors import ConfigError, FrameDecodeError, RilleError, SourceError
from rille.images import MAX_PIXELS, image_size, read_image
from rille.sources import open_source
from rille.sources.sim import SimulatedCamera


def test_a_folder_gives_its_images_by_name(image_folder: Path) -> None:
    with open_source(f"images://{image_folder}") as source:
        assert source.length == 6
        assert not source.realtime
        frames = list(source)
    assert [f.name for f in frames] == [f"{k:03d}.png" for k in range(6)]
    assert [f.index for f in frames] == list(range(6))
    assert frames[0].pixels.shape == (240, 320)


def test_a_plain_path_works_too(image_folder: Path) -> None:
    assert len(list(open_source(str(image_folder)))) == 6


def test_limit_and_loop(image_folder: Path) -> None:
    assert len(list(open_source(f"images://{image_folder}?limit=2"))) == 2
    looped = list(open_source(f"images://{image_folder}?loop=1&limit=15"))
    assert len(looped) == 15
    assert looped[6].name == looped[0].name


def test_other_files_in_the_folder_are_left_alone(image_folder: Path) -> None:
    (image_folder / "notes.txt").write_text("not an image")
    (image_folder / "sub.png").mkdir()
    assert open_source(f"images://{image_folder}").length == 6


def test_colour_is_rgb(tmp_path: Path) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, :, 2] = 255  # red, as OpenCV writes it
    cv2.imwrite(str(tmp_path / "red.png"), image)
    (frame,) = open_source(f"images://{tmp_path}")
    assert (frame.pixels[0, 0] == [255, 0, 0]).all()


def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((8, 8), 0xABCD, np.uint16))
    assert read_image(tmp_path / "deep.png")[0, 0] == 0xAB


def test_a_damaged_image_costs_one_frame(image_folder: Path) -> None:
    broken = image_folder / "002.png"
    broken.write_bytes(broken.read_bytes()[:500])
    source = open_source(f"images://{image_folder}")
    names = []
    with pytest.raises(FrameDecodeError, match=r"002\.png: not a complete image") as caught:
        while not source.ended:
            frame = source.read(1.0)
            assert frame is not None
            names.append(frame.name)
    assert caught.value.index == 2
    rest = list(source)
    assert [f.index for f in rest] == [3, 4, 5]


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.999])
def test_truncated_jpegs_are_not_shown(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(FrameDecodeError, match="not a complete image"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"BM", b"\xff\xd8\xff", b"GIF89a"])
def test_scraps_are_not_images(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(FrameDecodeError):
        read_image(path)


def bomb(width: int, height: int) -> bytes:
    """Return a tiny PNG whose header claims many pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_an_image_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(60_000, 60_000))
    start = time.monotonic()
    with pytest.raises(FrameDecodeError, match=f"more than the {MAX_PIXELS:,} accepted"):
        read_image(path)
    assert time.monotonic() - start < 0.5


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_the_size_is_read_from_the_header(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.zeros((37, 53, 3), np.uint8))
    assert image_size(path.read_bytes()) == (53, 37)
    assert image_size(b"nothing of the sort") is None


def write_video(path: Path, frames: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for k in range(frames):
        writer.write(np.full((48, 64, 3), (0, 0, 20 * k), np.uint8))
    writer.release()


def test_a_video_gives_its_frames(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", 5)
    with open_source(f"file://{tmp_path / 'v.mp4'}") as source:
        assert source.length == 5
        frames = list(source)
    assert len(frames) == 5
    assert frames[0].pixels.shape == (48, 64, 3)
    assert int(frames[4].pixels[24, 32, 0]) > 60 > int(frames[4].pixels[24, 32, 2])
    stamps = [f.source_ns for f in frames]
    assert stamps == sorted(stamps)  # type: ignore[type-var]


def test_a_video_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"not a video at all" * 100)
    with pytest.raises(SourceError, match="not a video that can be decoded"):
        open_source(f"file://{tmp_path / 'v.mp4'}")


def test_a_recording_can_be_played_in_real_time(image_folder: Path) -> None:
    with open_source(f"images://{image_folder}?fps=20") as source:
        assert source.realtime
        stamps = [frame.captured_ns / 1e9 for frame in source]
    gaps = np.diff(stamps)
    assert gaps.mean() == pytest.approx(0.05, abs=0.02)
    assert gaps.min() > 0


def test_a_late_frame_does_not_hurry_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stall shifts the rest of the stream; it does not make a burst of stale frames."""
    stamps = []
    with open_source("sim://moon?frames=8&size=64x48&fps=20") as source:
        for frame in source:
            stamps.append(frame.captured_ns / 1e9)
            if frame.index == 3:
                time.sleep(0.4)
    gaps = np.diff(stamps)
    assert gaps[3] >= 0.39
    assert gaps[4:].min() > 0.02


def test_in_real_time_another_process_renders_the_same_frames() -> None:
    uri = "sim://moon?view=rover&terrain=mare&frames=3&size=96x64&truth=1"
    with open_source(f"{uri}&fps=20") as live, open_source(f"{uri}&fps=20&realtime=0") as here:
        pairs = list(zip(live, here, strict=True))
    assert len(pairs) == 3
    for one, other in pairs:
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert one.truth is not None and other.truth is not None
        assert one.truth.craters == other.truth.craters


def test_a_renderer_that_dies_is_a_source_error() -> None:
    with open_source("sim://moon?frames=50&size=64x48&fps=20") as source:
        assert isinstance(source, SimulatedCamera) and source._process is not None
        source._process._child.kill()
        with pytest.raises(SourceError, match="simulator's process ended"):
            list(source)


def test_the_simulator_gives_truth_and_a_length() -> None:
    with open_source("sim://moon?seed=3&frames=2&size=160x120&realtime=0") as source:
        assert source.length == 2
        assert "160 x 120" in source.describe() and "seed 3" in source.describe()
        frames = list(source)
    assert frames[0].pixels.shape == (120, 160)
    assert frames[0].truth is not None and frames[0].truth.crater_mask.shape == (120, 160)


@pytest.mark.parametrize(
    ("uri", "words", "code"),
    [
        ("smi://moon", "no source scheme 'smi'; did you mean 'sim'", 3),
        ("sim://mon", "no world 'mon'; did you mean 'moon'", 3),
        ("sim://moon?view=descend", "no view 'descend'; did you mean 'descent'", 2),
        ("sim://moon?terrain=mari", "no terrain 'mari'; did you mean 'mare'", 2),
        ("sim://moon?sensor=new", "no sensor 'new' (known: clean, typical, stressed)", 2),
        ("sim://moon?sed=3", "no option 'sed'; did you mean 'seed'", 2),
        ("sim://moon?fps=0", "fps must be a number from 0.1 to 1000, not '0'", 2),
        ("sim://moon?fps=fast", "fps must be a number", 2),
        ("sim://moon?seed=-1", "seed must be a number", 2),
        ("sim://moon?size=640", "size must be like 640x480", 2),
        ("sim://moon?size=8000x8000", "size must be at most 16 megapixels", 2),
        ("sim://moon?size=0x480", "size must be like 640x480", 2),
        ("sim://moon?realtime=yes", "realtime must be 0 or 1", 2),
        ("sim://moon?sun_elevation_deg=-3", "sun_elevation_deg must be a number from 1.5", 2),
        ("images:///no/such/folder", "/no/such/folder: no such folder of images", 3),
        ("file:///no/such.mp4", "no such video file", 3),
        ("/no/such/thing", "neither a file, a folder nor a source", 3),
        ("concat://a|b", "no source scheme 'concat'", 3),
    ],
)
def test_bad_uris_name_the_way_out(uri: str, words: str, code: int) -> None:
    with pytest.raises(RilleError) as caught:
        open_source(uri)
    assert words in str(caught.value)
    assert caught.value.exit_code == code


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no image file \(looked for .*\.png"):
        open_source(f"images://{tmp_path}")


def test_a_folder_of_folders_names_one_that_has_images(tmp_path: Path) -> None:
    inner = tmp_path / "set" / "images"
    inner.mkdir(parents=True)
    (inner / "a.png").touch()
    with pytest.raises(SourceError, match=f"there are some in {inner}"):
        open_source(f"images://{tmp_path}")


def test_a_folder_that_vanishes_fails_frame_by_frame(image_folder: Path) -> None:
    source = open_source(f"images://{image_folder}")
    source.read(1.0)
    shutil.rmtree(image_folder)
    with pytest.raises(SourceError, match="no such file"):
        source.read(1.0)


def test_options_are_checked_for_every_scheme(
    image_folder: Path, tmp_path: Path, rille: Callable[..., int]
) -> None:
    with pytest.raises(ConfigError, match="did you mean 'limit'"):
        open_source(f"images://{image_folder}?limt=3")
    write_video(tmp_path / "v.mp4", 2)
    with pytest.raises(ConfigError, match="no option 'seed'"):
        open_source(f"file://{tmp_path / 'v.mp4'}?seed=3")
