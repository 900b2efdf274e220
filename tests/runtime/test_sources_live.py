"""Live sources: newest frame, stalls noticed, lost cameras found again, hostile ones survived."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rille.budget import Budget
from rille.bundle import Bundle
from rille.capture.tools import csi, libcamera
from rille.capture.wire import FRAME, Header, unpack
from rille.errors import ConfigError, FrameDecodeError, SourceError
from rille.frame import Frame
from rille.pipeline import Pipeline
from rille.sources import Source, open_source
from rille.sources.live import LiveSource
from rille.uri import split_uri
from rille.vehicle import Vehicle

Server = Callable[..., tuple[subprocess.Popen[str], int]]


@pytest.fixture
def serve(free_port: int) -> Iterator[Server]:
    """Starts MJPEG servers, and ends them."""
    running: list[subprocess.Popen[str]] = []

    def start(kind: str = "good", port: int = 0) -> tuple[subprocess.Popen[str], int]:
        port = port or free_port
        script = Path(__file__).parent / "mjpeg_server.py"
        child = subprocess.Popen(
            [sys.executable, str(script), str(port), kind], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        running.append(child)
        return child, port

    yield start
    for child in running:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def wait_for(source: Source, count: int = 1, limit_s: float = 20.0) -> list[Frame]:
    """Return the next frames of a source."""
    frames: list[Frame] = []
    end = time.monotonic() + limit_s
    while len(frames) < count and time.monotonic() < end:
        try:
            frame = source.read(0.2)
        except FrameDecodeError:
            continue
        if frame is not None:
            frames.append(frame)
    assert len(frames) == count, list(source.events)
    return frames


@pytest.mark.parametrize("kind", ["good", "unmeasured", "damaged"])
def test_frames_come_in_order_and_whole(serve: Server, kind: str) -> None:
    _, port = serve(kind)
    with open_source(f"http://127.0.0.1:{port}/video?x=1#fps=30") as camera:
        frames = wait_for(camera, 8)
        assert "96 x 64" in camera.describe()
    assert camera.realtime
    assert all(f.pixels.shape == (64, 96, 3) for f in frames)
    indices = [f.index for f in frames]
    assert indices == sorted(set(indices))
    times = [f.captured_ns for f in frames]
    assert times == sorted(times) and times[-1] <= time.monotonic_ns()
    if kind != "damaged":
        steps = np.diff([int(f.pixels.mean()) for f in frames])
        assert (steps == np.diff(indices)).all()  # a gap in the indices is a gap in the pictures


def test_a_truncated_picture_is_a_failed_frame(serve: Server) -> None:
    _, port = serve("damaged")
    with open_source(f"http://127.0.0.1:{port}/#fps=30") as camera:
        wait_for(camera, 2)
        with pytest.raises(FrameDecodeError, match="not a complete image") as caught:
            while True:
                camera.read(0.2)
        (frame,) = wait_for(camera)
    assert 0 < caught.value.index < frame.index


def test_a_slow_reader_gets_the_newest_frame(serve: Server) -> None:
    _, port = serve()
    with open_source(f"http://127.0.0.1:{port}/#fps=30") as camera:
        wait_for(camera, 3)
        time.sleep(1.0)
        (frame,) = wait_for(camera)
        age_s = (time.monotonic_ns() - frame.captured_ns) / 1e9
        assert age_s < 0.3
        assert frame.index > 15


def test_every_frame_of_a_slow_pipeline_is_accounted_for(
    serve: Server, mars_bundle: Bundle
) -> None:
    _, port = serve()
    with (
        open_source(f"http://127.0.0.1:{port}/#fps=30") as camera,
        Pipeline(classify=mars_bundle, budget=Budget(frame_ms=1000)) as pipeline,
    ):
        seen = []
        for result in pipeline.stream(camera, losses=True):
            seen.append(result.index)
            if result.published:
                time.sleep(0.1)
            if len(seen) > 60:
                pipeline.stop()
        totals = pipeline.stats.totals
    assert seen == list(range(len(seen)))
    assert totals.captured == totals.ok + totals.late + totals.dropped + totals.failed
    assert totals.dropped > 5


def test_a_stalled_camera_is_noticed_and_found_again(serve: Server) -> None:
    """The server is stopped by a signal: its sockets stay open and nothing comes."""
    server, port = serve()
    with open_source(f"http://127.0.0.1:{port}/#fps=30") as camera:
        wait_for(camera, 10)
        stopped = time.monotonic_ns()
        server.send_signal(signal.SIGSTOP)
        while not any(e.kind == "stalled" for e in camera.events):
            camera.read(0.02)
            assert time.monotonic_ns() - stopped < 5e9
        noticed_s = (camera.events[-1].at_ns - stopped) / 1e9
        assert 0.4 < noticed_s < 1.0  # half a second of silence, on a machine with other work
        time.sleep(1.0)
        server.send_signal(signal.SIGCONT)
        back = time.monotonic_ns()
        (frame,) = [f for f in wait_for(camera, 20) if f.captured_ns > back][:1]
        assert (frame.captured_ns - back) / 1e9 < 4.0
        assert isinstance(camera, LiveSource) and camera.stalls >= 1
        assert any(e.kind == "returned" for e in camera.events)


def test_a_killed_camera_is_found_again(serve: Server) -> None:
    server, port = serve()
    with open_source(f"http://127.0.0.1:{port}/#fps=30") as camera:
        last = wait_for(camera, 5)[-1].index
        server.kill()
        server.wait()
        end = time.monotonic() + 10
        while not any(e.kind == "trouble" for e in camera.events):
            camera.read(0.05)
            assert time.monotonic() < end
        serve(port=port)
        back = time.monotonic_ns()
        frame = wait_for(camera, 3)[-1]
        assert (frame.captured_ns - back) / 1e9 < 4.0
        assert frame.index > last
        assert isinstance(camera, LiveSource) and camera.stalls == 0


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("page", "sends text/html, not multipart"),
        ("missing", "answers 404"),
        ("locked", "user name or password refused"),
        ("endless", "a header line longer than"),
        ("babble", "no boundary in 32 lines"),
        ("huge", "announces a picture of 99999999999 bytes"),
    ],
)
def test_what_is_no_camera_is_told_in_one_line(serve: Server, kind: str, words: str) -> None:
    _, port = serve(kind)
    with open_source(f"http://me:pass@127.0.0.1:{port}/#connect_s=4") as camera:
        with pytest.raises(SourceError, match=words) as caught:
            while True:
                assert camera.read(0.2) is None
        assert "pass" not in str(caught.value).replace("password", "")
        assert "connect_s waits longer" in str(caught.value)


def test_the_right_password_opens(serve: Server) -> None:
    _, port = serve("locked")
    with open_source(f"http://me:pa%3Ass@127.0.0.1:{port}/") as camera:
        wait_for(camera)


def test_nobody_there(rille: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert rille("run", "--source", "http://127.0.0.1:9/#connect_s=3", "--out", "/dev/null/x") == 3
    expected = pytest.raises(SourceError, match="refuses the connection; is the camera on")
    with open_source("http://127.0.0.1:9/#connect_s=3") as camera, expected:
        while True:
            camera.read(0.2)


def test_closing_ends_the_capture_process(serve: Server) -> None:
    _, port = serve()
    camera = open_source(f"http://127.0.0.1:{port}/")
    wait_for(camera)

    def capturing() -> int:
        commands = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
        return sum(f":{port}/".encode() in c and b"rille.capture" in c for c in commands)

    assert capturing() == 1
    began = time.monotonic()
    camera.close()
    assert time.monotonic() - began < 1.0
    assert capturing() == 0


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("http://host/#fsp=3", "no option 'fsp'; did you mean 'fps'"),
        ("v4l2:///dev/video0?fps=fast", "fps must be a number"),
        ("csi://0?size=big", "size must be like"),
        ("rtsp://host/a#stall_s=0", "stall_s must be a number"),
        ("rtsp://host/a#transport=pigeon", "transport must be tcp or udp"),
        ("libcamera://0?size=100x100", "must be a multiple of 64"),
        ("csi://front", "cameras have numbers: csi://0"),
        ("v4l2:///dev/video0?format=MJPEG", "format must be four letters"),
    ],
)
def test_options_that_do_not_fit(uri: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        open_source(uri)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("v4l2:///dev/video77?connect_s=5", "no such device"),
        # GStreamer looks through all its plugins when it is first started: seconds on a busy board.
        ("csi://0?connect_s=15", r"needs the program gst-launch-1\.0|gst-launch-1\.0 ended"),
        ("libcamera://0?connect_s=5", "needs the program rpicam-vid: sudo apt install rpicam-apps"),
        ("udp://nowhere.invalid:5000#connect_s=5", "nowhere.invalid"),
    ],
)
def test_cameras_that_are_not_here(uri: str, words: str) -> None:
    with open_source(uri) as camera, pytest.raises(SourceError, match=words):
        while True:
            camera.read(0.2)


PROGRAM = """#!{python}
import sys, time
width, height = 128, 64
for k in range({frames}):
    sys.stdout.buffer.write(bytes([40 + k]) * (width * height * {numerator} // 2))
    sys.stdout.buffer.flush()
    sys.stderr.write("frame\\n" * 2000)
    time.sleep(0.03)
sys.stderr.write("the sensor is gone\\n")
"""


@pytest.mark.parametrize(
    ("scheme", "program", "numerator"),
    [("csi", "gst-launch-1.0", 6), ("libcamera", "rpicam-vid", 3)],
)
def test_the_output_of_a_program_becomes_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, program: str, numerator: int
) -> None:
    """A program in the vendor's place writes raw frames, talks much, and dies."""
    path = tmp_path / program
    path.write_text(PROGRAM.format(python=sys.executable, frames=20, numerator=numerator))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with open_source(f"{scheme}://0?size=128x64&fps=30") as camera:
        frames = wait_for(camera, 8)
        assert frames[0].pixels.shape == (64, 128, 3)
        values = [int(f.pixels.mean()) for f in frames]
        assert values == sorted(values)
        end = time.monotonic() + 10
        while not any("the sensor is gone" in e.text for e in camera.events):
            camera.read(0.05)
            assert time.monotonic() < end
        wait_for(camera, 2)  # started anew


def test_the_commands_of_the_vendors_programs() -> None:
    command, size, unpacked = csi(split_uri("csi://1?size=1920x1080&fps=30"))
    assert command[:2] == ["gst-launch-1.0", "-q"] and command[-1] == "fdsink"
    assert "sensor-id=1" in command and size == 1920 * 1080 * 3
    assert unpacked(np.zeros(size, np.uint8)).shape == (1080, 1920, 3)
    command, size, unpacked = libcamera(split_uri("libcamera://0?size=640x480&fps=15"))
    assert command[command.index("--framerate") + 1] == "15" and size == 640 * 480 * 3 // 2
    grey = unpacked(np.full(size, 128, np.uint8))
    assert grey.shape == (480, 640, 3) and abs(int(grey.mean()) - 130) < 3


def test_messages_survive_the_way_and_nothing_else_is_one() -> None:
    head = Header(FRAME, 2, 3, 3, 18, 7, 123, None)
    assert unpack(head.pack()) == head and head.vehicle is None
    light = replace(head, exposure_ms=4.5, gain_db=-6.0)
    assert unpack(light.pack()).vehicle == Vehicle(exposure_ms=4.5, gain_db=-6.0)
    assert replace(head, exposure_ms=-1.0).vehicle is None  # of another program's making
    for spoilt in (
        b"x" + head.pack()[1:],
        Header(FRAME, 2, 3, 3, 17, 7, 123, 5).pack(),
        Header(FRAME, 2, 3, 4, 24, 7, 123, 5).pack(),
        Header(4, 0, 0, 0, 0).pack(),
        Header(2, size=1 << 40).pack(),
    ):
        with pytest.raises(ValueError, match="not a message"):
            unpack(spoilt)
