"""The ring in shared memory: whole frames or damaged ones, and nothing else is taken for a ring."""

from __future__ import annotations

import os
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rille.capture.ring import HEAD_BYTES, ShmReader, ShmWriter
from rille.capture.shot import MOST_MISSED
from rille.errors import ConfigError, SinkError, SourceError

HEIGHT, WIDTH = 48, 64


def picture(seed: int, channels: int = 1) -> NDArray[np.uint8]:
    """Return noise that no other seed gives."""
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_ring_gives_what_was_put_in(tmp_path: Path, channels: int) -> None:
    with ShmWriter("cam", HEIGHT * WIDTH * channels, folder=tmp_path) as writer:
        writer.write(picture(9, channels))
        reader = ShmReader("cam", tmp_path)
        assert reader.take() is None  # what was there before may be old
        for k in range(10):
            writer.write(picture(k, channels), captured_ns=1000 + k, source_ns=k or None)
            shot = reader.take()
            assert shot is not None and shot.pixels is not None
            assert (shot.pixels == picture(k, channels)).all()
            assert shot.pixels.shape == picture(k, channels).shape
            assert (shot.captured_ns, shot.source_ns, shot.missed) == (1000 + k, k or None, 0)
            assert reader.take() is None
        for k in range(7):
            writer.write(picture(k, channels))
        shot = reader.take()
        assert shot is not None and shot.missed == 6
        reader.close()
    assert not list(tmp_path.iterdir())


def poke(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


@pytest.mark.parametrize(
    ("at", "content", "words"),
    [
        (0, struct.pack("<Q", 3), "overwritten before"),
        (8, struct.pack("<Q", 77), "overwritten before"),
        (32, struct.pack("<I", 0), "which cannot be"),
        (36, struct.pack("<I", 60000), "which cannot be"),
        (40, struct.pack("<I", 2), "which cannot be"),
        (44, struct.pack("<I", 1), "checksum does not fit"),
        (HEAD_BYTES + 5, b"\x00\x01\x02", "checksum does not fit"),
    ],
)
def test_a_torn_or_spoilt_slot_is_a_damaged_frame(
    tmp_path: Path, at: int, content: bytes, words: str
) -> None:
    with ShmWriter("cam", HEIGHT * WIDTH, folder=tmp_path) as writer:
        reader = ShmReader("cam", tmp_path)
        writer.write(picture(1))
        poke(writer.path, HEAD_BYTES + at, content)
        shot = reader.take()
        assert shot is not None and shot.pixels is None and words in shot.fault
        writer.write(picture(2))
        shot = reader.take()
        assert shot is not None and shot.pixels is not None and shot.missed == 0
        reader.close()


def test_a_frame_overwritten_while_it_is_read_is_never_given_as_whole(tmp_path: Path) -> None:
    """A writer as fast as it can against a reader: every frame is one picture, or damaged."""
    big = [np.full((600, 800), value, np.uint8) for value in range(8)]
    with ShmWriter("cam", 480_000, slots=2, folder=tmp_path) as writer:
        reader = ShmReader("cam", tmp_path)
        stop = threading.Event()

        def write() -> None:
            k = 0
            while not stop.is_set():
                writer.write(big[k % 8])
                k += 1

        thread = threading.Thread(target=write)
        thread.start()
        seen = 0
        end = time.monotonic() + 10
        while seen < 200 and time.monotonic() < end:
            shot = reader.take()
            if shot is None:
                continue
            seen += 1
            if shot.pixels is not None:
                assert shot.pixels.min() == shot.pixels.max()
        stop.set()
        thread.join()
        reader.close()
    assert seen == 200


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no ring"),
        (b"PNG" * 100, "is no ring"),
        (struct.pack("<8sIIQQ32x", b"RILLESHM", 2, 4, 100, 0), "version 2"),
        (struct.pack("<8sIIQQ32x", b"RILLESHM", 1, 4, 1 << 60, 0), "does not have"),
        (struct.pack("<8sIIQQ32x", b"RILLESHM", 1, 1 << 30, 100, 0), "does not have"),
        (struct.pack("<8sIIQQ32x", b"RILLESHM", 1, 4, 100, 0) + bytes(600), "does not have"),
    ],
)
def test_what_is_no_ring_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "rille-cam").write_bytes(content)
    with pytest.raises(SourceError, match=words):
        ShmReader("cam", tmp_path)


@pytest.mark.parametrize("count", [0, MOST_MISSED + 9, 1 << 60])
def test_a_count_that_jumps_is_not_believed(tmp_path: Path, count: int) -> None:
    with ShmWriter("cam", HEIGHT * WIDTH, folder=tmp_path) as writer:
        writer.write(picture(1))
        reader = ShmReader("cam", tmp_path)
        poke(writer.path, 24, struct.pack("<Q", count))
        with pytest.raises(SourceError, match="jumps"):
            reader.take()
        writer.path.write_bytes(b"")
        with pytest.raises(SourceError, match="cut short"):
            reader.take()
        reader.close()


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name must be"):
        ShmWriter("../evil", 10, folder=tmp_path)
    with pytest.raises(ConfigError, match="slots 2 to 64"):
        ShmWriter("cam", 10, slots=1, folder=tmp_path)
    with pytest.raises(SinkError, match="cannot be written"):
        ShmWriter("cam", 10, folder=tmp_path / "nowhere")
    with ShmWriter("cam", 10, folder=tmp_path) as writer, pytest.raises(SinkError, match="room"):
        writer.write(picture(1))


def test_a_link_that_waits_under_the_rings_name_is_not_followed(tmp_path: Path) -> None:
    """Anybody may write in /dev/shm."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"kept")
    for name in ("rille-cam", f".rille-cam.{os.getpid()}"):
        (tmp_path / name).symlink_to(precious)
    with ShmWriter("cam", 100, folder=tmp_path) as writer:
        writer.write(np.zeros((5, 5), np.uint8))
        assert not writer.path.is_symlink()
    assert precious.read_bytes() == b"kept"
