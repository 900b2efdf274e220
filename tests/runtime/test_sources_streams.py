"""RTSP from a real server, and MPEG transport streams, through PyAV."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rille.capture.av import read
from rille.errors import SourceError
from rille.sources import open_source
from rille.sources.live import LiveSource
from rille.uri import SourceUri

av: Any = pytest.importorskip("av", reason="the video extra is not installed")

HERE = Path(__file__).parent
GI = "import gi; gi.require_version('GstRtspServer', '1.0')"
SYSTEM = "/usr/bin/python3"
PLUGINS = {"jpeg": "gstreamer1.0-plugins-good", "h264": "gstreamer1.0-plugins-ugly"}
Serve = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts RTSP servers that can send the named path, and ends them."""
    have = (
        Path(SYSTEM).exists()
        and not subprocess.run([SYSTEM, "-c", GI], capture_output=True, check=False).returncode
    )
    if not have:
        pytest.skip("no RTSP server: apt install gir1.2-gst-rtsp-server-1.0 python3-gi")
    running: list[subprocess.Popen[str]] = []

    def start(port: int, path: str = "jpeg") -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [SYSTEM, str(HERE / "rtsp_server.py"), str(port)], stdout=subprocess.PIPE, text=True
        )
        running.append(child)
        assert child.stdout is not None
        ready, *paths = child.stdout.readline().split()
        assert ready == "ready"
        if path not in paths:
            pytest.skip(f"no encoder for {path}: apt install {PLUGINS[path]}")
        return child

    yield start
    for child in running:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def frames_of(camera: LiveSource, count: int, limit_s: float = 20.0) -> list[int]:
    """Wait for some frames; return their capture times."""
    times: list[int] = []
    end = time.monotonic() + limit_s
    while len(times) < count:
        frame = camera.read(0.1)
        if frame is not None:
            assert frame.pixels.shape == (240, 320, 3) and frame.pixels.std() > 5
            times.append(frame.captured_ns)
        assert time.monotonic() < end, list(camera.events)
    return times


def frame_after(camera: LiveSource, moment_ns: int) -> float:
    """Wait for a frame captured after a moment; return how many seconds after."""
    while True:
        (captured_ns,) = frames_of(camera, 1)
        if captured_ns >= moment_ns:
            return (captured_ns - moment_ns) / 1e9


def opened(uri: str) -> LiveSource:
    source = open_source(uri)
    assert isinstance(source, LiveSource)
    return source


@pytest.mark.slow
@pytest.mark.parametrize("path", ["jpeg", "h264", "h264#transport=udp"])
def test_frames_come(serve: Serve, free_port: int, path: str) -> None:
    serve(free_port, path.partition("#")[0])
    with opened(f"rtsp://127.0.0.1:{free_port}/{path}") as camera:
        times = frames_of(camera, 30)
        assert 20 < 1 / float(np.median(np.diff(times)) / 1e9) < 45


@pytest.mark.slow
def test_a_stalled_server_is_noticed_and_found_again(serve: Serve, free_port: int) -> None:
    server = serve(free_port)
    with opened(f"rtsp://127.0.0.1:{free_port}/jpeg#fps=30") as camera:
        frames_of(camera, 20)
        stopped = time.monotonic_ns()
        server.send_signal(signal.SIGSTOP)
        while not camera.stalls:
            camera.read(0.02)
            assert time.monotonic_ns() - stopped < 8e9
        stalled = next(e for e in reversed(camera.events) if e.kind == "stalled")
        assert 0.4 < (stalled.at_ns - stopped) / 1e9 < 1.2
        time.sleep(1.0)
        back = time.monotonic_ns()
        server.send_signal(signal.SIGCONT)
        assert frame_after(camera, back) < 8.0


@pytest.mark.slow
def test_a_killed_server_is_found_again(serve: Serve, free_port: int) -> None:
    server = serve(free_port)
    with opened(f"rtsp://127.0.0.1:{free_port}/jpeg#fps=30") as camera:
        frames_of(camera, 10)
        server.kill()
        server.wait()
        time.sleep(1.0)
        serve(free_port)
        back = time.monotonic_ns()
        assert frame_after(camera, back) < 8.0


@pytest.mark.slow
def test_a_path_that_is_not_served(serve: Serve, free_port: int) -> None:
    serve(free_port)
    expected = pytest.raises(SourceError, match=r"no frame within 4 s \(rtsp://.*404 Not Found")
    with opened(f"rtsp://127.0.0.1:{free_port}/nothing#connect_s=4") as camera, expected:
        while True:
            camera.read(0.2)


SENDER = """
import sys, time
import av, numpy as np
out = av.open(sys.argv[1], "w", format="mpegts")
stream = out.add_stream("mpeg4", rate=30)
stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
stream.gop_size = 10
for k in range(100000):
    picture = np.zeros((240, 320, 3), np.uint8)
    picture[:, (4 * k) % 300 : (4 * k) % 300 + 20] = 200
    for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
        out.mux(packet)
    time.sleep(1 / 30)
"""


@pytest.mark.slow
def test_a_transport_stream_over_udp(free_port: int) -> None:
    address = f"udp://127.0.0.1:{free_port}"
    sender = subprocess.Popen([sys.executable, "-c", SENDER, f"{address}?pkt_size=1316"])
    try:
        with opened(f"{address}#connect_s=20") as camera:
            frames_of(camera, 30)
    finally:
        sender.kill()
        sender.wait()


def test_a_picture_whose_packets_were_lost_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    with av.open(str(path), "w", format="mpegts") as out:
        stream = out.add_stream("mpeg2video", rate=30)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for k in range(40):
            picture = np.random.default_rng(k).integers(0, 256, (240, 320, 3), np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode())
    whole = path.read_bytes()
    packet = len(whole) // 188 // 2
    path.write_bytes(whole[: 188 * packet] + whole[188 * (packet + 5) :])
    shots = list(read(SourceUri(str(path), "udp", str(path), {})))
    damaged = [shot for shot in shots if shot.pixels is None]
    assert damaged and all("never came" in shot.fault for shot in damaged)
    assert sum(shot.pixels is not None for shot in shots) >= 30
