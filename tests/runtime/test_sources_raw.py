"""Raw frames over shared memory and datagrams, and picamera2: whole, in order, accounted for."""

from __future__ import annotations

import random
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rille.budget import Budget
from rille.bundle import Bundle
from rille.capture.chunks import HEAD, Assembler, Shape, cut
from rille.capture.ring import FOLDER, HEAD_BYTES, ShmWriter
from rille.capture.shot import MOST_MISSED, Shot
from rille.capture.udpraw import RawSender
from rille.errors import ConfigError, FrameDecodeError, SourceError
from rille.frame import Frame
from rille.pipeline import Pipeline
from rille.sources import Source, open_source
from rille.sources.live import LiveSource
from rille.vehicle import Vehicle

DOUBLES = Path(__file__).parent.parent / "doubles"
HEIGHT, WIDTH = 48, 64
SIZE = f"{WIDTH}x{HEIGHT}"


def picture(value: int, channels: int = 1) -> NDArray[np.uint8]:
    """Return noise around a value that tells which picture it is."""
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    pixels = np.random.default_rng(value).integers(0, 256, shape, np.uint8)
    pixels[0] = value % 256
    return pixels


class Player(threading.Thread):
    """Calls `give` with 0, 1, 2, ... every `period_s`, until the context is left."""

    def __init__(self, give: Callable[[int], object], period_s: float = 0.02) -> None:
        super().__init__(daemon=True)
        self._give, self._period_s, self._stop_asked = give, period_s, threading.Event()

    def run(self) -> None:
        number = 0
        while not self._stop_asked.wait(self._period_s):
            self._give(number)
            number += 1

    def __enter__(self) -> Player:
        self.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop_asked.set()
        self.join()


def take(source: Source, count: int, limit_s: float = 20.0) -> list[Frame | FrameDecodeError]:
    """Return what a source gives next."""
    found: list[Frame | FrameDecodeError] = []
    end = time.monotonic() + limit_s
    while len(found) < count and time.monotonic() < end:
        try:
            frame = source.read(0.2)
        except FrameDecodeError as wrong:
            found.append(wrong)
            continue
        if frame is not None:
            found.append(frame)
    assert len(found) == count, list(source.events)
    return found


def whole(source: Source, count: int) -> list[Frame]:
    frames = [f for f in take(source, count) if isinstance(f, Frame)]
    assert len(frames) == count
    return frames


@pytest.fixture
def ring_name() -> Iterator[str]:
    """A name of its own under /dev/shm, gone afterwards."""
    name = f"test-{random.SystemRandom().getrandbits(48):x}"
    yield name
    (FOLDER / f"rille-{name}").unlink(missing_ok=True)


def poke(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def test_shared_memory_is_a_camera_that_may_start_anew(ring_name: str) -> None:
    with open_source(f"shm://{ring_name}?fps=50") as camera:
        for first in (0, 100):
            with (
                ShmWriter(ring_name, HEIGHT * WIDTH) as writer,
                Player(lambda k, w=writer, f=first: w.write(picture(f + k))),  # type: ignore[misc]
            ):
                frames = whole(camera, 10)
                for frame in frames:
                    assert (frame.pixels == picture(int(frame.pixels[0, 0]))).all()
                assert frames[-1].pixels[0, 0] >= first
                indices = [f.index for f in frames]
                assert indices == sorted(set(indices))
                # A gap in the indices is a gap in the pictures.
                steps = np.diff([int(f.pixels[0, 0]) for f in frames])
                assert (steps == np.diff(indices)).all()
        assert any("its writer has gone" in e.text for e in camera.events)


def test_a_writer_that_stops_is_a_stall(ring_name: str) -> None:
    with (
        ShmWriter(ring_name, HEIGHT * WIDTH) as writer,
        open_source(f"shm://{ring_name}?fps=50") as camera,
    ):
        with Player(lambda k: writer.write(picture(k))):
            last = whole(camera, 10)[-1].index
        end = time.monotonic() + 10
        while not any(e.kind == "stalled" for e in camera.events):
            camera.read(0.05)
            assert time.monotonic() < end
        with Player(lambda k: writer.write(picture(k))):
            assert whole(camera, 3)[0].index > last


def test_a_reader_that_was_held_up_does_not_blame_the_camera(
    ring_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits in the pipe when the reader's thread gets its turn again is a sign of life."""
    held: list[int] = []
    hand_on = LiveSource._hand_on

    def slowly(self: LiveSource, *frame: Any) -> None:
        if len(held) < 3 and self.index > 3:
            held.append(self.index)
            time.sleep(0.7)
        hand_on(self, *frame)

    monkeypatch.setattr(LiveSource, "_hand_on", slowly)
    with (
        ShmWriter(ring_name, WIDTH * HEIGHT) as ring,
        open_source(f"shm://{ring_name}?stall_s=0.5") as camera,
        Player(lambda k: ring.write(picture(k))),
    ):
        whole(camera, 40)
    assert len(held) == 3
    assert [e.kind for e in camera.events if e.kind == "stalled"] == []


def test_damaged_frames_fail_and_the_account_holds(ring_name: str, mars_bundle: Bundle) -> None:
    def give(k: int) -> None:
        writer.write(picture(k))
        if k % 3 == 0:  # the checksum; a reader may have been quicker
            slot = HEAD_BYTES + (k % 4) * (HEAD_BYTES + HEIGHT * WIDTH)
            poke(writer.path, slot + 44, b"\1\2\3\4")

    with (
        ShmWriter(ring_name, HEIGHT * WIDTH) as writer,
        open_source(f"shm://{ring_name}?fps=50") as camera,
        Pipeline(classify=mars_bundle, budget=Budget(frame_ms=2000)) as pipeline,
        Player(give, period_s=0.04),
    ):
        seen = []
        for result in pipeline.stream(camera, losses=True):
            seen.append(result.index)
            if len(seen) > 60:
                pipeline.stop()
        totals = pipeline.stats.totals
    assert seen == list(range(len(seen)))
    assert totals.captured == totals.ok + totals.late + totals.dropped + totals.failed
    assert totals.failed > 2 and totals.ok > 2


SHAPE = Shape(HEIGHT, WIDTH, 1)


def given(shots: list[Shot]) -> list[tuple[bool, int]]:
    return [(shot.pixels is not None, shot.missed) for shot in shots]


@pytest.mark.parametrize("payload", [1, 100, 1400, 65000])
def test_datagrams_in_any_order_make_the_frame(payload: int) -> None:
    assembler = Assembler(SHAPE)
    for k in range(3):
        datagrams = list(cut(picture(k), k, source_ns=5 * k, payload=payload))
        random.Random(k).shuffle(datagrams)
        shots = [shot for d in datagrams for shot in assembler.put(d)]
        assert given(shots) == [(True, 0)]
        assert shots[0].pixels is not None and shots[0].source_ns == 5 * k
        assert np.array_equal(shots[0].pixels, picture(k))
        assert assembler.put(datagrams[0]) == []  # once more, too late
    assert assembler.refused == 3


def test_chunks_of_two_frames_may_mix() -> None:
    one, two = (list(cut(picture(k), k, payload=500)) for k in (0, 1))
    assembler = Assembler(SHAPE)
    mixed = [*one[:-1], *two[:3], one[-1], *two[3:]]
    assert given([s for d in mixed for s in assembler.put(d)]) == [(True, 0), (True, 0)]


def test_every_frame_that_was_sent_is_given_once() -> None:
    """Datagrams lost, doubled and swapped at random: whole, damaged and missed add up."""
    rng = random.Random(4)
    stream = [d for k in range(200) for d in cut(picture(k), 0xFFFFFF80 + k, payload=700)]
    stream = [d for d in stream for _ in range(rng.choice([1, 1, 1, 2])) if rng.random() > 0.05]
    for _ in range(100):
        k = rng.randrange(len(stream) - 4)
        stream[k], stream[k + 3] = stream[k + 3], stream[k]
    assembler = Assembler(SHAPE)
    shots = [s for d in stream for s in assembler.put(d)] + assembler.flush()
    assert sum(1 + s.missed for s in shots) == 200
    assert sum(s.pixels is not None for s in shots) > 100
    assert any("chunks never came" in s.fault for s in shots)
    at = -1
    for shot in shots:
        at += 1 + shot.missed
        assert shot.pixels is None or np.array_equal(shot.pixels, picture(at))


def test_a_sender_that_starts_anew_is_followed() -> None:
    assembler = Assembler(SHAPE)
    for first in (500, 0, 4_000_000_000):
        shots = [s for k in range(2) for d in cut(picture(k), first + k) for s in assembler.put(d)]
        assert given(shots) == [(True, 0), (True, 0)]
    part = next(cut(picture(1), 4_000_000_002))
    assert assembler.put(part) == []
    left = [s for d in cut(picture(1), 7) for s in assembler.put(d)]
    assert given(left) == [(False, 0), (True, 0)]  # what was open is not forgotten


def spoilt(**changes: int) -> bytes:
    names = ("magic", "number", "chunk", "chunks", "height", "width", "channels", "payload")
    (datagram,) = cut(picture(1), 5, payload=65000)
    values = list(HEAD.unpack_from(datagram))
    for name, value in changes.items():
        values[names.index(name)] = value
    return HEAD.pack(*values) + datagram[HEAD.size :]


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"RLU1",
        b"x" * 2000,
        spoilt(chunk=1),
        spoilt(chunks=2),
        spoilt(chunks=0),
        spoilt(payload=0),
        spoilt(payload=10),
        spoilt(height=HEIGHT + 1),
        spoilt(channels=0),
        spoilt()[:-1],
        spoilt() + b"x",
    ],
)
def test_hostile_datagrams_are_refused(datagram: bytes) -> None:
    assembler = Assembler(SHAPE)
    assert assembler.put(datagram) == [] and assembler.refused == 1
    assert given(assembler.put(spoilt())) == [(True, 0)]


def test_numbers_from_far_ahead_downwards_do_not_pile_up() -> None:
    assembler = Assembler(SHAPE)
    for number in range(MOST_MISSED, 0, -1):
        assembler.put(next(cut(picture(0), number, payload=100)))
    assert len(assembler.flush()) <= 3


def test_a_spoilt_pixel_fails_the_frame() -> None:
    (datagram,) = cut(picture(1), 5, payload=65000)
    (shot,) = Assembler(SHAPE).put(datagram[:-1] + bytes([datagram[-1] ^ 1]))
    assert shot.pixels is None and "checksum" in shot.fault


@pytest.mark.parametrize(("kind", "channels"), [("gray", 1), ("rgb", 3)])
def test_datagrams_are_a_camera(free_port: int, kind: str, channels: int) -> None:
    uri = f"udpraw://127.0.0.1:{free_port}?size={SIZE}&format={kind}&fps=50"
    with open_source(uri) as camera, RawSender("127.0.0.1", free_port) as sender:

        def give(k: int) -> None:
            sender.send(picture(k, channels), source_ns=k)

        with Player(give):
            frames = whole(camera, 12)
    for frame in frames:
        assert frame.source_ns is not None
        assert (frame.pixels == picture(frame.source_ns, channels)).all()
    indices = [f.index for f in frames]
    stamps = [f.source_ns or 0 for f in frames]
    assert (np.diff(indices) == np.diff(stamps)).all()


def test_lost_datagrams_fail_their_frames_and_strangers_are_not_heard(free_port: int) -> None:
    uri = f"udpraw://127.0.0.1:{free_port}?size={SIZE}&fps=50"
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def give(k: int) -> None:
        datagrams = list(cut(picture(k), k, source_ns=k))
        for n, datagram in enumerate(datagrams):
            if k % 4 or n != 1:
                ours.sendto(datagram, ("127.0.0.1", free_port))
        stranger.sendto(next(cut(picture(0), 900_000 + k)), ("127.0.0.1", free_port))
        stranger.sendto(b"hello", ("127.0.0.1", free_port))

    with stranger, ours, open_source(uri) as camera, Player(give):
        found = take(camera, 20)
    damaged = [f for f in found if isinstance(f, FrameDecodeError)]
    assert len(damaged) >= 3 and all("1 of 3 chunks never came" in str(d) for d in damaged)
    stamps = [f.source_ns or 0 for f in found if isinstance(f, Frame)]
    assert len(stamps) > 10 and all(s % 4 for s in stamps)
    indices = [f.index for f in found]
    assert indices == sorted(set(indices)) and indices[-1] < 200


def test_frames_of_another_size_are_told(free_port: int) -> None:
    uri = f"udpraw://127.0.0.1:{free_port}?size=80x48&connect_s=3"
    expected = pytest.raises(SourceError, match=r"frames of 64 x 48 x 1 come, asked for are 80 x")
    with open_source(uri) as camera, RawSender("127.0.0.1", free_port) as sender, expected:
        while True:
            sender.send(picture(1))
            camera.read(0.05)


def test_a_spoilt_head_among_good_frames_does_not_end_the_stream(free_port: int) -> None:
    uri = f"udpraw://127.0.0.1:{free_port}?size={SIZE}&fps=50"
    with open_source(uri) as camera, RawSender("127.0.0.1", free_port) as sender:

        def give(k: int) -> None:
            sender.send(picture(k))
            datagram = next(cut(picture(k)[:-8], k))
            sender._socket.sendto(datagram, ("127.0.0.1", free_port))

        with Player(give):
            whole(camera, 25)
        assert [e.text for e in camera.events if e.kind == "trouble"] == []


def test_a_port_in_use_is_told(free_port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", free_port))
        uri = f"udpraw://127.0.0.1:{free_port}?connect_s=3"
        expected = pytest.raises(SourceError, match="cannot listen there")
        with open_source(uri) as camera, expected:
            while True:
                camera.read(0.1)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("shm://../etc/passwd", "name must be"),
        ("shm://cam?size=1x1", "no option 'size'"),
        ("udpraw://127.0.0.1", "needs a port"),
        ("udpraw://:5600?format=yuv", "format must be gray or rgb"),
        ("udpraw://:5600?sise=64x48", "no option 'sise'; did you mean 'size'"),
        ("picamera2://front", "cameras have numbers"),
        ("picamera2://0?size=9x9", "size must be like"),
    ],
)
def test_options_that_do_not_fit(uri: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        open_source(uri)


def test_a_ring_that_is_not_there(ring_name: str) -> None:
    expected = pytest.raises(SourceError, match="no such ring")
    with open_source(f"shm://{ring_name}?connect_s=3") as camera, expected:
        while True:
            camera.read(0.1)


def test_picamera2_with_a_double_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The double fails after 40 frames, as with a pulled cable; the camera is opened again."""
    monkeypatch.syspath_prepend(str(DOUBLES))
    with open_source("picamera2://0?size=64x48&fps=100") as camera:
        frames = whole(camera, 8)
        assert frames[0].pixels.shape == (48, 64, 3)
        assert frames[0].pixels[0, 0, :2].tolist() == [200, 100]
        assert all(f.source_ns == int(f.pixels[0, 0, 2]) * 1_000_000 for f in frames)
        assert all(f.vehicle == Vehicle(exposure_ms=4.0, gain_db=20.0) for f in frames)
        end = time.monotonic() + 10
        while not any("has timed out" in e.text for e in camera.events):
            camera.read(0.05)
            assert time.monotonic() < end
        whole(camera, 2)
    with open_source("picamera2://0?size=64x48&fps=100&vehicle=0") as camera:
        assert whole(camera, 1)[0].vehicle is None
    expected = pytest.raises(SourceError, match="no such camera, or it is in use")
    with open_source("picamera2://7?connect_s=3") as camera, expected:
        while True:
            camera.read(0.1)


def test_without_picamera2_it_says_how_to_get_it() -> None:
    expected = pytest.raises(SourceError, match="sudo apt install python3-picamera2")
    with open_source("picamera2://0?connect_s=3") as camera, expected:
        while True:
            camera.read(0.1)


def test_the_checksum_is_zlibs() -> None:
    (datagram,) = cut(picture(1), 5, payload=65000)
    assert HEAD.unpack_from(datagram)[8] == zlib.crc32(picture(1).tobytes())
