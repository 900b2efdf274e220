"""Live cameras and streams: read in a process of their own, watched, opened again when lost.

`http://` and `https://` (MJPEG), `rtsp://`, `rtsps://` and `udp://` (through PyAV),
`v4l2:///dev/video0`, `csi://0` (Jetson), `libcamera://0` and `picamera2://0` (Raspberry Pi),
`shm://NAME` (shared memory), `udpraw://:5600` (raw frames in datagrams). Options come after "?",
for those of the first line after "#": `fps` (what the camera gives, for the first deadline),
`connect_s` (how long to wait for the first frame of all), `stall_s` (silence that counts as a
stall; default: three periods, at least half a second), `barcode` (1: below each picture is a test
bench's barcode, which is read and cut off), and those of the scheme.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from rille import barcode
from rille.capture import module_of
from rille.capture.wire import DAMAGED, HEADER, TROUBLE, Header, unpack
from rille.errors import FrameDecodeError, SourceError
from rille.frame import Frame
from rille.slot import LatestSlot
from rille.sources.base import Source, SourceEvent
from rille.uri import SourceUri

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.frame import Truth
    from rille.vehicle import Vehicle

_LEAST_STALL_S, _UNKNOWN_STALL_S = 0.5, 2.0
_CONNECT_S = 15.0
_SILENT_S = 8.0
"""A process that says nothing for so long, not even that it cannot connect, hangs."""
_MOST_DAMAGED = 1000
_PAUSES_S = (0.0, 0.1, 0.3, 1.0)


class LiveSource(Source):
    """A camera or a stream; see the module's description.

    Frames that were captured and replaced before anybody took them leave gaps in the indices.

    Attributes:
        stalls: how often it fell silent while it should have given frames.
        restarts: how often its process was started anew.
    """

    def __init__(self, uri: SourceUri) -> None:
        module_of(uri.scheme).check(uri)
        self._rate = uri.number("fps", None, 0.1, 1000)
        self._connect_s = uri.number("connect_s", _CONNECT_S, 0.1, 86400) or _CONNECT_S
        self._stall_s = uri.number("stall_s", None, 0.05, 3600)
        self._barcode = uri.flag("barcode", False)
        super().__init__(uri, None)
        self.realtime = True
        self.stalls = self.restarts = 0
        self._slot: LatestSlot[Frame] = LatestSlot()
        self._damaged: deque[FrameDecodeError] = deque(maxlen=_MOST_DAMAGED)
        self._held: Frame | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._opened_ns = 0
        self._periods: deque[float] = deque(maxlen=30)
        self._last_ns: int | None = None
        self._next_index = 0
        self._size = ""
        self._lost = False

    def open(self) -> None:
        """Start to capture; the first frame may take a while."""
        self._opened_ns = time.monotonic_ns()
        self._thread = threading.Thread(target=self._watch, name="rille-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the capture process."""
        self._stop.set()
        self._slot.close()
        if self._thread is not None:
            self._thread.join()
        self._thread = None
        super().close()

    def describe(self) -> str:
        """Return address, size and pace as far as they are known."""
        pace = (
            f", about {1 / float(np.median(self._periods)):.1f} frames/s" if self._periods else ""
        )
        return f"{self.uri.shown}, {self._size or 'no frame yet'}{pace}"

    def read(self, timeout_s: float) -> Frame | None:
        """Return the newest frame that nobody took, or None if none comes within `timeout_s`.

        Raises:
            FrameDecodeError: one before it arrived damaged; reading may go on.
            SourceError: no frame came in the first `connect_s` seconds; says why.
        """
        if self._held is None:
            self._held = self._slot.take(0.0 if self._damaged else timeout_s)
        if self._damaged and (self._held is None or self._damaged[0].index < self._held.index):
            wrong = self._damaged.popleft()
            self.index = wrong.index + 1
            raise wrong
        frame, self._held = self._held, None
        if frame is None and self._last_ns is None and not self._stop.is_set():
            waited = (time.monotonic_ns() - self._opened_ns) / 1e9
            if waited > self._connect_s:
                told = next((e.text for e in reversed(self.events)), "nothing was heard of it")
                raise SourceError(
                    f"{self.uri.shown}: no frame within {self._connect_s:g} s ({told}); "
                    "connect_s waits longer"
                )
        if frame is not None:
            self.index = frame.index + 1
        return frame

    def _next(self) -> tuple[NDArray[np.uint8], str, int | None, Truth | None] | None:
        raise AssertionError("frames come through read")

    def _note(self, kind: str, text: str) -> None:
        self.events.append(SourceEvent(time.monotonic_ns(), kind, text))

    def _watch(self) -> None:
        """Start capture processes, one after the other, until `close`."""
        turn = 0
        while not self._stop.is_set():
            seen = self._last_ns
            with _CaptureProcess(self.uri.text) as child:
                why = self._follow(child)
            if self._stop.is_set():
                return
            kind = "stalled" if why.startswith("silent") else "ended"
            self.stalls += kind == "stalled"
            self._lost = True
            self._note(kind, why)
            self.restarts += 1
            turn = 0 if self._last_ns != seen else min(turn + 1, len(_PAUSES_S) - 1)
            self._stop.wait(_PAUSES_S[turn])

    def _follow(self, child: _CaptureProcess) -> str:
        """Hand on the frames of one process; return why it is of no more use."""
        first, offset, heard_ns = True, self._next_index, time.monotonic_ns()
        while not self._stop.is_set():
            patience_s = _SILENT_S if first else self.stall_limit_s()
            left_s = patience_s - (time.monotonic_ns() - heard_ns) / 1e9
            try:
                # Looked at once more when time is up: it may be this thread that was held up.
                message = child.receive(min(max(left_s, 0.0), 0.1))
            except (EOFError, ValueError) as wrong:
                return str(wrong)
            if message is None and left_s <= 0:
                return f"silent for {patience_s:.2f} s"
            if message is None:
                continue
            header, body = message
            if header.kind == DAMAGED:  # is no sign of life: a camera may give nothing else
                self._hand_on_damaged(bytes(body).decode(errors="replace"), offset + header.number)
                continue
            heard_ns = time.monotonic_ns()
            if header.kind == TROUBLE:
                first = True  # it is connecting anew, which may take longer than a frame
                self._lost = True
                self._note("trouble", bytes(body).decode(errors="replace"))
                continue
            self._hand_on(header, body, offset)
            first = False
        return "closed"

    def _hand_on(self, header: Header, body: bytearray, offset: int) -> None:
        shape = (header.height, header.width, header.channels)
        pixels: NDArray[np.uint8] = np.frombuffer(body, np.uint8).reshape(shape)
        pixels = pixels[:, :, 0] if header.channels == 1 else pixels
        index, source_ns = offset + header.number, header.source_ns
        name = f"{self.uri.scheme} {index}"
        if self._barcode:
            try:
                pixels, mark = barcode.read(pixels)
            except FrameDecodeError as wrong:
                self._hand_on_damaged(str(wrong), index)
                return
            name, source_ns = f"bench {mark.number}", mark.sent_us * 1000
        frame = Frame(
            pixels=pixels,
            index=index,
            captured_ns=header.captured_ns,
            name=name,
            source_ns=source_ns,
            vehicle=self._completed(self.vehicle(index, name), header.vehicle),
        )
        self._size = f"{header.width} x {header.height}"
        if self._last_ns is None:
            self._note("connected", self._size)
        elif self._lost:
            gap = (header.captured_ns - self._last_ns) / 1e9
            self._note("returned", f"after {gap:.2f} s")
        else:
            self._periods.append(
                (header.captured_ns - self._last_ns) / 1e9 / (index - self._next_index + 1)
            )
        self._lost, self._last_ns, self._next_index = False, header.captured_ns, index + 1
        self._slot.put(frame)

    def _completed(self, told: Vehicle | None, camera: Vehicle | None) -> Vehicle | None:
        """Return what is known of a frame: from the vehicle's feed, and from the camera."""
        if self.uri.options.get("vehicle") == "0":
            return None
        return told.completed(camera) if told is not None else camera

    def _hand_on_damaged(self, words: str, index: int) -> None:
        wrong = FrameDecodeError(f"{self.uri.scheme} {index}: {words}")
        wrong.index, self._next_index = index, index + 1
        self._damaged.append(wrong)

    def stall_limit_s(self) -> float:
        """Return the silence after which the source counts as stalled."""
        if self._stall_s is not None:
            return self._stall_s
        if self._periods:
            return max(3 * float(np.median(self._periods)), _LEAST_STALL_S)
        return max(3 / self._rate, _LEAST_STALL_S) if self._rate else _UNKNOWN_STALL_S


class _CaptureProcess:
    """A running capture process; leaving the context kills it."""

    def __init__(self, uri: str) -> None:
        paths = [p for p in sys.path if p]  # the child must find the very package that started it
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "rille.capture.process", uri],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self._pipe = cast("BinaryIO", self._child.stdout).fileno()
        self._head = bytearray()
        self._header: Header | None = None
        self._body = bytearray()
        self._filled = 0

    def receive(self, timeout_s: float) -> tuple[Header, bytearray] | None:
        """Return the next message; None if it is not complete within `timeout_s`.

        Raises:
            EOFError: the process ended.
            ValueError: what it writes is no message.
        """
        deadline = time.monotonic_ns() + int(timeout_s * 1e9)
        while True:
            left = max(0.0, (deadline - time.monotonic_ns()) / 1e9)
            if not select.select([self._pipe], [], [], left)[0]:
                return None
            if self._header is None:
                chunk = os.read(self._pipe, HEADER.size - len(self._head))
                self._head += chunk
                if len(self._head) == HEADER.size:
                    self._header = unpack(bytes(self._head))
                    self._head.clear()
                    self._body = bytearray(self._header.size)
                    self._filled = 0
            else:
                view = memoryview(self._body)[self._filled :]
                count = os.readv(self._pipe, [view])
                chunk = b"x" * min(count, 1)
                self._filled += count
            if not chunk:
                raise EOFError(f"the capture process ended ({self._child.wait()})")
            if self._header is not None and self._filled == self._header.size:
                message, self._header = (self._header, self._body), None
                return message

    def __enter__(self) -> _CaptureProcess:
        return self

    def __exit__(self, *raised: object) -> None:
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            cast("BinaryIO", pipe).close()
