"""The capture process: `python -m rille.capture.process URI`.

It reads a camera or stream for ever and writes the newest frame to its standard output; a frame
that nobody took in time is replaced by the next. A connection that is refused or lost is opened
again with growing pauses, and each failure is told. It ends when its standard input does, so that
it never outlives the one that started it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import BinaryIO

from rille.capture import module_of
from rille.capture.shot import Shot
from rille.capture.wire import DAMAGED, FRAME, TROUBLE, Header
from rille.errors import RilleError
from rille.slot import LatestSlot
from rille.uri import SourceUri, split_uri
from rille.vehicle import Vehicle

Reader = Callable[[SourceUri], Iterator[Shot]]
Message = tuple[Header, bytes]
_MOST_WORDS, _MOST_DAMAGED = 4096, 1000
_LOOK_S = 0.05
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 1.0


def capture(read: Reader, uri: SourceUri, out: BinaryIO) -> None:
    """Read a source for ever; returns when nobody reads `out` any more.

    Args:
        read: opens the source and gives its frames; ends or raises a `RilleError` when it is lost.
        uri: the source.
        out: where messages go.
    """
    slot: LatestSlot[Message] = LatestSlot()
    damaged: deque[Message] = deque(maxlen=_MOST_DAMAGED)
    sender = threading.Thread(target=_send, args=(slot, damaged, out), daemon=True)
    sender.start()
    number, pause_s = 0, _FIRST_PAUSE_S
    while sender.is_alive():
        trouble = "the stream ended"
        try:
            for shot in read(uri):
                number += shot.missed
                message = _message(shot, number)
                number += 1
                if shot.pixels is None:
                    damaged.append(message)  # a newer frame must not take its place untold
                else:
                    pause_s = _FIRST_PAUSE_S
                    slot.put(message)
                if not sender.is_alive():
                    return
        except RilleError as wrong:
            trouble = str(wrong)
        body = trouble.encode()[:_MOST_WORDS]
        slot.put((Header(TROUBLE, size=len(body)), body))
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _message(shot: Shot, number: int) -> Message:
    """Return a frame as it is sent; one from the future, by its own word, is from now."""
    now = time.monotonic_ns()
    captured = now if shot.captured_ns is None else min(shot.captured_ns, now)
    if shot.pixels is None:
        body = shot.fault.encode()[:_MOST_WORDS]
        return Header(DAMAGED, size=len(body), number=number, captured_ns=captured), body
    height, width = shot.pixels.shape[:2]
    channels = 1 if shot.pixels.ndim == 2 else shot.pixels.shape[2]
    told = shot.vehicle or Vehicle()
    header = Header(
        FRAME,
        height,
        width,
        channels,
        size=shot.pixels.size,
        number=number,
        captured_ns=captured,
        source_ns=shot.source_ns,
        exposure_ms=told.exposure_ms,
        gain_db=told.gain_db,
    )
    return header, shot.pixels.tobytes()


def _send(slot: LatestSlot[Message], damaged: deque[Message], out: BinaryIO) -> None:
    """Send what there is, damaged frames in their places between the others."""
    try:
        while True:
            message = slot.take(_LOOK_S)
            told = message is None or message[0].kind == TROUBLE
            while damaged and (told or damaged[0][0].number < message[0].number):  # type: ignore[index]
                _write(out, damaged.popleft())
            if message is not None:
                _write(out, message)
    except (BrokenPipeError, ValueError):
        return


def _write(out: BinaryIO, message: Message) -> None:
    out.write(message[0].pack())
    out.write(message[1])
    out.flush()


def _end_with(stdin: BinaryIO) -> None:
    """End this process when the one that started it has gone."""
    while stdin.read(1):
        pass
    os._exit(0)


def main() -> None:
    """Capture what the first argument names."""
    # Ctrl-C belongs to the one that started this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(sys.stdin.buffer,), daemon=True).start()
    uri = split_uri(sys.argv[1])
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries that print must not spoil it
    capture(module_of(uri.scheme).read, uri, out)


if __name__ == "__main__":
    main()
