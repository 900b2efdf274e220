"""RTSP through a real server, GStreamer's, in a process of its own that can be stopped and killed.

The server is a program for the system's Python, where the bindings are; without them the link is
skipped, saying so.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from rille.hil.link import Link
from rille.hil.upset import SkippedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rille.hil.feed import Outgoing
    from rille.hil.scenario import Fault

_PYTHON = "/usr/bin/python3"
_PROBE = "import gi; gi.require_version('GstRtspServer', '1.0')"


class RtspLink(Link):
    """Frames as RTP/JPEG over RTSP on this machine.

    Args:
        port: where the server listens.
        shape: of the frames, barcode included.
        fps: frames a second.

    Raises:
        SkippedError: GStreamer's bindings, or the product's reader of RTSP, are not installed.
    """

    lossless = False

    def __init__(self, port: int, shape: tuple[int, ...], fps: float) -> None:
        if importlib.util.find_spec("av") is None:
            raise SkippedError('link rtsp: needs PyAV: pip install "rille[video]"')
        try:
            subprocess.run([_PYTHON, "-c", _PROBE], check=True, capture_output=True, timeout=30)
        except (OSError, subprocess.SubprocessError):
            raise SkippedError(
                "link rtsp: needs GStreamer's server: sudo apt install python3-gi "
                "gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-bad"
            ) from None
        self.uri = f"rtsp://127.0.0.1:{port}/bench#fps={fps:g}&barcode=1"
        kind = "gray" if len(shape) == 2 else "rgb"
        script = str(Path(__file__).with_name("rtsp_server.py"))
        size = (str(port), str(shape[1]), str(shape[0]), str(round(fps)), kind)
        self._command = [_PYTHON, script, *size]
        self._server: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._rest = b""
        self._start()

    def _start(self) -> None:
        server = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert server.stdin is not None and server.stderr is not None
        server.stderr.readline()
        os.set_blocking(server.stdin.fileno(), False)
        self._server, self._rest = server, b""

    def look(self, faults: Sequence[Fault], at_s: float) -> None:
        """Kill or stop the server, start it anew or let it go on."""
        down = any(fault.type == "off" for fault in faults)
        stuck = any(fault.type == "stuck" for fault in faults)
        if down and self._server is not None:
            self._kill()
        elif not down and self._server is None:
            self._start()
        if self._server is not None and stuck != self._stopped:
            self._server.send_signal(signal.SIGSTOP if stuck else signal.SIGCONT)
            self._stopped = stuck

    def send(self, frame: Outgoing, faults: Sequence[Fault]) -> str | None:
        """Hand a frame to the server, which drops it while nobody watches."""
        server = self._server
        if server is None or self._stopped:
            return "free"
        assert server.stdin is not None
        pipe = server.stdin.fileno()
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            # A frame that did not fit whole goes on where it ended: rows must not shift.
            if self._rest:
                self._rest = self._rest[os.write(pipe, self._rest) :]
            if not self._rest:
                data = frame.pixels.tobytes()
                self._rest = data[os.write(pipe, data) :]
                return None
        return "free"

    def _kill(self) -> None:
        server, self._server, self._stopped = self._server, None, False
        if server is None:
            return
        server.kill()
        server.wait()
        for pipe in (server.stdin, server.stderr):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def close(self) -> None:
        """End the server; safe to call twice."""
        self._kill()
