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
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from rille.capture import module_of
from rille.capture.wire import FRAME, TROUBLE, Header
from rille.errors import RilleError
from rille.slot import LatestSlot
from rille.uri import SourceUri, split_uri

if TYPE_CHECKING:
    from numpy.typing import NDArray

Picture = tuple["NDArray[np.uint8]", "int | None"]
"""Pixels, (H, W, 3) RGB or (H, W), uint8, and the camera's own time stamp in ns, if it has one."""
Reader = Callable[[SourceUri], Iterator[Picture]]
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 1.0


def capture(read: Reader, uri: SourceUri, out: BinaryIO) -> None:
    """Read a source for ever; returns when nobody reads `out` any more.

    Args:
        read: opens the source and gives its frames; ends or raises a `RilleError` when it is lost.
        uri: the source.
        out: where messages go.
    """
    slot: LatestSlot[tuple[Header, bytes]] = LatestSlot()
    sender = threading.Thread(target=_send, args=(slot, out), daemon=True)
    sender.start()
    number, pause_s = 0, _FIRST_PAUSE_S
    while sender.is_alive():
        trouble = "the stream ended"
        try:
            for pixels, source_ns in read(uri):
                height, width = pixels.shape[:2]
                header = Header(
                    FRAME,
                    height,
                    width,
                    1 if pixels.ndim == 2 else pixels.shape[2],
                    pixels.size,
                    number,
                    time.monotonic_ns(),
                    source_ns,
                )
                number += 1
                pause_s = _FIRST_PAUSE_S
                slot.put((header, pixels.tobytes()))
                if not sender.is_alive():
                    return
        except RilleError as wrong:
            trouble = str(wrong)
        body = trouble.encode()[:4096]
        slot.put((Header(TROUBLE, size=len(body)), body))
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _send(slot: LatestSlot[tuple[Header, bytes]], out: BinaryIO) -> None:
    try:
        while True:
            message = slot.take(1.0)
            if message is not None:
                out.write(message[0].pack())
                out.write(message[1])
                out.flush()
    except (BrokenPipeError, ValueError):
        return


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
