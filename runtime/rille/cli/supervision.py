"""What a run does differently where a parent process watches it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

from rille.health.beats import Heartbeats


@contextlib.contextmanager
def supervision() -> Iterator[Heartbeats]:
    """Give the memory for heartbeats: the supervisor's, or one that nobody reads.

    Raises:
        ConfigError: the environment names a memory that is none.
    """
    inherited = Heartbeats.inherited(os.environ)
    if inherited is not None:
        threading.Thread(target=_end_with_parent, name="rille-parent", daemon=True).start()
    beats = inherited or Heartbeats.create()
    try:
        yield beats
    finally:
        beats.close()


def _end_with_parent() -> None:
    """Ask this process to end when the one that started it has gone: its end of the pipe closes."""
    with contextlib.suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
