"""Opening a link of a kind."""

from __future__ import annotations

import os
import secrets
import socket
from typing import TYPE_CHECKING

from rille.barcode import strip_height
from rille.hil.datagram_link import DatagramLink
from rille.hil.link import Link, ShmLink

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rille.hil.scenario import Scenario


def open_link(
    kind: str,
    picture: NDArray[np.uint8],
    scenario: Scenario,
    board: tuple[str, int] | None,
) -> Link:
    """Open a link that carries pictures like this one, barcode below.

    Args:
        kind: "shm", "udpraw", "mjpeg" or "rtsp".
        picture: one of them.
        scenario: for its rate and seed.
        board: host and port at which a board listens; None for this machine.

    Raises:
        SkippedError: this machine has not what the link needs.
    """
    height, width = picture.shape[:2]
    shape = (height + strip_height(width), width, *picture.shape[2:])
    if kind == "shm":
        name = f"hil-{os.getpid()}-{secrets.token_hex(4)}"
        return ShmLink(name, 3 * shape[0] * shape[1], scenario.fps)
    if kind == "udpraw":
        host, port = board or ("127.0.0.1", _free_port(socket.SOCK_DGRAM))
        return DatagramLink(host, port, shape, scenario.fps, scenario.seed)
    if kind == "mjpeg":
        from rille.hil.http_link import HttpLink, image_bomb

        if any(fault.value == "bomb" for fault in scenario.fault):
            image_bomb()  # made now: the bench must not pause for it when it is time
        return HttpLink(_free_port(socket.SOCK_STREAM), scenario.fps)
    from rille.hil.rtsp_link import RtspLink

    return RtspLink(_free_port(socket.SOCK_STREAM), shape, scenario.fps)


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
