"""Reading the bundles' bytes over and over, a slice after each frame, against their checksums."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from rille.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Slice:
    """A piece of a bundle's file: stage, file name, first byte and the one after the last."""

    stage: str
    file: str
    start: int
    end: int


class Scrubber:
    """Holds a slice of some bundles' bytes at a time against the CRC-32 it had once verified.

    A CRC-32 finds every error of up to 32 bits in a row (Koopman 2002), and takes some 40 us for
    256 kB. All files are read: engines are built from one of them, golden answers come from others.

    Args:
        bundles: stage -> its bundle, just verified.
        size: bytes of a slice; 0 for no scrubbing.

    Attributes:
        slices: how many there are: after so many frames every byte was read.
        passes: how often all were read.
    """

    def __init__(self, bundles: Mapping[str, Bundle], size: int) -> None:
        if size < 0:
            raise ValueError(f"size must be at least 0, not {size}")
        self._bundles = dict(bundles)
        self._parts = [
            (Slice(stage, name, at, min(at + size, len(content))), zlib.crc32(view[at : at + size]))
            for stage, bundle in bundles.items()
            for name, content in bundle.files.items()
            for view in (memoryview(content),)
            for at in (range(0, len(content), size) if size else ())
        ]
        self._next = 0
        self.passes = 0

    @property
    def slices(self) -> int:
        """How many slices there are."""
        return len(self._parts)

    def step(self) -> Slice | None:
        """Look at the next slice; return it if its bytes changed."""
        if not self._parts:
            return None
        part, crc = self._parts[self._next]
        self._next += 1
        if self._next == len(self._parts):
            self._next, self.passes = 0, self.passes + 1
        view = memoryview(self._bundles[part.stage].files[part.file])
        return part if zlib.crc32(view[part.start : part.end]) != crc else None
