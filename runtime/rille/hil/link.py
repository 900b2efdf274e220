"""What carries frames to the device, whole or as its faults have it: the contract, and a ring."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import TYPE_CHECKING

from rille.capture.ring import HEAD_BYTES, ShmWriter
from rille.closing import Closing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rille.hil.feed import Outgoing
    from rille.hil.scenario import Fault


class Link(Closing):
    """Carries frames one way. Use it as a context manager.

    Attributes:
        uri: what the device opens to receive them.
        lossless: whether pixels arrive as they were sent.
    """

    uri = ""
    lossless = True

    @abstractmethod
    def send(self, frame: Outgoing, faults: Sequence[Fault]) -> str | None:
        """Send one frame.

        Args:
            frame: what to send.
            faults: those of the link that are active now.

        Returns:
            What must come of it: "refused" where it was damaged on the way, "free" where it may
            or may not arrive, "limit" where the damage cannot be seen, None where it was sent
            whole.
        """

    def look(self, faults: Sequence[Fault], at_s: float) -> None:
        """Take note of the faults that are active now, whether or not there is a frame to send.

        Args:
            faults: those of the link.
            at_s: seconds since the scenario began.
        """


def flapped(faults: Sequence[Fault], at_s: float) -> bool:
    """Return whether a link is down now: off, or in the down half of its flapping."""
    for fault in faults:
        if fault.type == "off":
            return True
        if fault.value == "flaps" and fault.amount:
            return int((at_s - fault.at_s) / fault.amount) % 2 == 0
    return False


class _SpoilingWriter(ShmWriter):
    """A ring that can be damaged before its readers see what was put in."""

    spoil = ""

    def _publish(self, at: int, sequence: int) -> None:
        if self.spoil == "bits":
            self._memory[at + HEAD_BYTES + 1000] ^= 0x10
        elif self.spoil == "cut":  # a height that no slot has room for
            self._memory[at + 32 : at + 36] = (16000).to_bytes(4, "little")
        elif self.spoil == "count":
            self._count += 5000
        super()._publish(at, sequence)


class ShmLink(Link):
    """Shared memory on this machine.

    Args:
        name: of the ring.
        room: bytes of the largest frame.
        fps: frames a second, for the device's first deadline.
    """

    def __init__(self, name: str, room: int, fps: float) -> None:
        self.uri = f"shm://{name}?fps={fps:g}&barcode=1"
        self._name, self._room = name, room
        self._ring: _SpoilingWriter | None = _SpoilingWriter(name, room)

    def look(self, faults: Sequence[Fault], at_s: float) -> None:
        """Take the ring away while the link is down, and make it anew."""
        down = flapped(faults, at_s)
        if down and self._ring is not None:
            self._ring.close()
            self._ring = None
        elif not down and self._ring is None:
            self._ring = _SpoilingWriter(self._name, self._room)

    def send(self, frame: Outgoing, faults: Sequence[Fault]) -> str | None:
        """Put a frame into the ring."""
        if self._ring is None:
            return "free"
        self._ring.spoil = next((f.value for f in faults if f.value in ("bits", "cut")), "")
        if any(fault.value == "count" for fault in faults):
            self._ring.spoil = "count"
        captured = time.monotonic_ns() if frame.captured_ns is None else frame.captured_ns
        self._ring.write(frame.pixels, captured, frame.stamp_us * 1000)
        if self._ring.spoil == "count":
            return "free"
        return "refused" if self._ring.spoil else None

    def close(self) -> None:
        """Take the ring away; safe to call twice."""
        if self._ring is not None:
            self._ring.close()
            self._ring = None
