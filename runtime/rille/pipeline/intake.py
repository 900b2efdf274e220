"""Reading a camera in a thread of its own, into a slot for the newest frame."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from rille.errors import FrameDecodeError
from rille.pipeline.ends import Ends
from rille.result import Result, State
from rille.slot import LatestSlot

if TYPE_CHECKING:
    from rille.frame import Frame
    from rille.sources import Source

POLL_S = 0.1


class Intake(threading.Thread):
    """Reads a source into a slot until it ends; what the slot loses waits in `lost`.

    Args:
        source: open.
        ends: counts what is captured.
        heard: called when a frame lies in the slot, and at the end.

    Attributes:
        slot: holds the newest frame.
        lost: results of frames that were overwritten or undecodable, oldest first.
        done: set when no more frames will come.
        error: why the source failed, if it did.
    """

    def __init__(self, source: Source, ends: Ends, heard: Callable[[], None] | None = None) -> None:
        super().__init__(name="rille-capture", daemon=True)
        self.slot: LatestSlot[Frame] = LatestSlot()
        self.lost: deque[Result] = deque()
        self.done = threading.Event()
        self.error: Exception | None = None
        self._source = source
        self._ends = ends
        self._heard = heard or (lambda: None)
        self._next_index = source.index

    def run(self) -> None:
        """Read until the end of the source, an error, or `finish`."""
        try:
            while not self.slot.closed:
                self._read_one()
                if self._source.ended:
                    return
        except Exception as wrong:  # whatever ends the thread must end the stream, loudly
            self.error = wrong
        finally:
            self.done.set()
            self._heard()

    def _read_one(self) -> None:
        account = self._ends.stats.account
        try:
            frame = self._source.read(POLL_S)
        except FrameDecodeError as wrong:
            self._skip_to(wrong.index)
            account.capture()
            self.lost.append(self._ends.undecoded(wrong))
            return
        if frame is None:
            return
        self._skip_to(frame.index)
        account.capture()
        replaced = self.slot.put(frame)
        self._heard()
        if replaced is not None:
            cause = "shutdown" if replaced is frame else "superseded"
            self.lost.append(self._ends.dropped(replaced, cause))

    def _skip_to(self, index: int) -> None:
        """Account for what a camera captured and replaced before anybody took it."""
        for missed in range(self._next_index, index):
            self._ends.stats.account.capture()
            self.lost.append(self._ends.unseen(missed, State.DROPPED, cause="missed"))
        self._next_index = index + 1

    def finish(self) -> Frame | None:
        """Stop reading, wait for the thread, and return the frame nobody took."""
        leftover = self.slot.close()
        self.join()
        return leftover
