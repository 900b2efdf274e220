"""`shm://NAME`: frames that another program on this machine puts into shared memory.

The layout of the ring is in `rille.capture.ring`, with `ShmWriter` for programs in Python. Options:
those of every live source. Nothing is kept by the kernel, so the ring is looked at every
millisecond.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rille.capture import WATCHED
from rille.capture.ring import ShmReader, ShmWriter, ring_path
from rille.errors import SourceError

if TYPE_CHECKING:
    from rille.capture.shot import Shot
    from rille.uri import SourceUri

__all__ = ["ShmReader", "ShmWriter", "check", "read"]
_LOOK_S = 0.001
_QUIET_LOOKS = 100
"""Looks in vain after which it is asked whether the writer started anew."""


def check(uri: SourceUri) -> None:
    """Refuse options that are not known, and a name that is none.

    Raises:
        ConfigError: names the option.
    """
    uri.check_options(WATCHED)
    ring_path(uri.target)


def read(uri: SourceUri) -> Iterator[Shot]:
    """Give the frames of a ring until its writer has gone.

    Raises:
        SourceError: there is no such ring, or it is not what it says it is.
    """
    reader = ShmReader(uri.target)
    try:
        vain = 0
        while True:
            shot = reader.take()
            if shot is not None:
                vain = 0
                yield shot
                continue
            vain += 1
            if vain % _QUIET_LOOKS == 0 and not reader.current():
                raise SourceError(f"{uri.shown}: its writer has gone")
            time.sleep(_LOOK_S)
    finally:
        reader.close()
