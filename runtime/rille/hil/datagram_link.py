"""Raw frames in datagrams, and what a bad network does to them."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import random
import socket
import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from rille.capture.chunks import HEAD, cut
from rille.hil.link import Link

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rille.hil.feed import Outgoing
    from rille.hil.scenario import Fault

_PAYLOAD = 8000
_SPREAD_S = 0.004


class DatagramLink(Link):
    """`udpraw://`: frames cut into datagrams with a checksum over each frame.

    Args:
        host, port: where the device listens.
        shape: of the frames, barcode included.
        fps: frames a second, for the device's first deadline.
        seed: of losses and damage.
    """

    def __init__(self, host: str, port: int, shape: tuple[int, ...], fps: float, seed: int) -> None:
        kind = "gray" if len(shape) == 2 else "rgb"
        size = f"{shape[1]}x{shape[0]}"
        self.uri = f"udpraw://{host}:{port}?size={size}&format={kind}&fps={fps:g}&barcode=1"
        self._address, self._random = (host, port), random.Random(seed)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._late: list[tuple[float, int, bytes]] = []
        self._order = itertools.count()
        self._more, self._ended = threading.Condition(), False
        self._thread = threading.Thread(target=self._deliver, name="hil-late", daemon=True)
        self._thread.start()
        self.carried = 0

    def send(self, frame: Outgoing, faults: Sequence[Fault]) -> str | None:
        """Send a frame's datagrams; see `Link.send`."""
        stamp_ns = frame.stamp_us * 1000
        datagrams = list(cut(frame.pixels, self.carried, stamp_ns, _PAYLOAD))
        self.carried += 1
        spread_s, later_s, effect = _SPREAD_S, 0.0, None
        for fault in faults:
            if fault.type == "stuck":
                return "free"
            if fault.type == "slow":
                spread_s = fault.amount
            elif fault.type == "delayed":
                later_s = fault.amount
            else:
                datagrams, told = self._spoilt(fault, datagrams, frame)
                effect = told or effect
        for k, datagram in enumerate(datagrams):
            if later_s:
                self._put_off(datagram, later_s)
                continue
            self._give(datagram)
            if k + 1 < len(datagrams):
                time.sleep(spread_s / len(datagrams))
        return effect

    def _spoilt(
        self, fault: Fault, datagrams: list[bytes], frame: Outgoing
    ) -> tuple[list[bytes], str | None]:
        """Return the datagrams as a fault leaves them, and what must come of the frame."""
        if fault.value == "bits":
            k = self._random.randrange(len(datagrams))
            body = bytearray(datagrams[k])
            body[self._random.randrange(HEAD.size, len(body))] ^= 1 << self._random.randrange(8)
            return [*datagrams[:k], bytes(body), *datagrams[k + 1 :]], "refused"
        if fault.value == "cut":
            return [datagram[: len(datagram) // 2] for datagram in datagrams], "refused"
        if fault.value == "loss":
            kept = [d for d in datagrams if self._random.random() >= fault.amount]
            return kept, None if len(kept) == len(datagrams) else "refused"
        if fault.value == "reorder":
            return [d for pair in _pairs(datagrams) for d in reversed(pair)], None
        if fault.value == "twice":
            return [d for datagram in datagrams for d in (datagram, datagram)], None
        if fault.value == "shape":
            shrunk = np.ascontiguousarray(frame.pixels[:-8])
            return list(cut(shrunk, self.carried - 1, None, _PAYLOAD)), "refused"
        if fault.value == "header":
            self._give_hostile(datagrams[0])
        elif fault.value == "stranger":
            for datagram in datagrams:
                self._stranger.sendto(b"RLU1" + datagram[4:], self._address)
                self._stranger.sendto(self._random.randbytes(200), self._address)
        return datagrams, None

    def _give_hostile(self, datagram: bytes) -> None:
        """Send heads that contradict themselves before the true ones."""
        names = list(HEAD.unpack_from(datagram))
        for at, value in ((2, 0xFFFF), (3, 0), (4, 0xFFFF), (6, 0), (7, 0)):
            broken = list(names)
            broken[at] = value
            self._give(HEAD.pack(*broken) + datagram[HEAD.size :])
        for length in (0, 3, HEAD.size - 1, HEAD.size):
            self._give(datagram[:length])

    def _give(self, datagram: bytes) -> None:
        with contextlib.suppress(ConnectionRefusedError, BlockingIOError):
            self._socket.sendto(datagram, self._address)

    def _put_off(self, datagram: bytes, later_s: float) -> None:
        with self._more:
            due = time.monotonic() + later_s
            heapq.heappush(self._late, (due, next(self._order), datagram))
            self._more.notify()

    def _deliver(self) -> None:
        """Send what was put off, when it is due."""
        while True:
            with self._more:
                while not self._ended and (not self._late or self._late[0][0] > time.monotonic()):
                    self._more.wait(0.01 if self._late else None)
                if self._ended:
                    return
                _, _, datagram = heapq.heappop(self._late)
            self._give(datagram)

    def close(self) -> None:
        """Close the sockets; safe to call twice."""
        with self._more:
            self._ended = True
            self._more.notify()
        self._thread.join()
        self._socket.close()
        self._stranger.close()


def _pairs(datagrams: list[bytes]) -> list[list[bytes]]:
    return [datagrams[k : k + 2] for k in range(0, len(datagrams), 2)]
