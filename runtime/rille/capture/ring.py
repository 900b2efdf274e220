"""Frames in shared memory: the layout of the ring, the one who writes, the one who reads.

A ring is a file in `/dev/shm`, `rille-NAME`, little-endian throughout:

    offset 0    8s  "RILLESHM"
           8    I   version, 1
          12    I   slots, 2 to 64
          16    Q   bytes of pixels that a slot has room for
          24    Q   frames written so far, counted up when a frame is complete
          32        zeros up to 64
    offset 64 + k (64 + room), slot k: frame n (from 0) stands in slot n modulo slots
           0    Q   sequence: odd while the slot is being written, then up by one
           8    Q   number of the frame
          16    q   monotonic ns at which it was captured (CLOCK_MONOTONIC); -1: not known
          24    q   the camera's own time stamp, ns; -1: none
          32    I   height
          36    I   width
          40    I   channels: 1 grey, 3 RGB
          44    I   CRC-32 (zlib's) of the pixels
          48        zeros up to 64
          64        pixels, row by row

A reader takes the newest frame, and the sequence before and after it: where they differ it was
overwritten meanwhile. Processors that reorder writes are caught by the checksum. A program that
starts anew makes a new file and gives it the old one's name.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rille.capture.shot import MOST_MISSED, Shot
from rille.capture.wire import MAX_BODY
from rille.closing import Closing
from rille.errors import ConfigError, SinkError, SourceError, SourceNotFoundError
from rille.files import sink_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER = Path("/dev/shm")
VERSION, HEAD_BYTES = 1, 64
_MAGIC = b"RILLESHM"
_HEAD = struct.Struct("<8sIIQQ")
_COUNT = struct.Struct("<Q")
_COUNT_AT = 24
_SLOT = struct.Struct("<QQqqIIII")
_FEWEST, _MOST = 2, 64
_MOST_SIDE = 16384
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def ring_path(name: str, folder: Path = FOLDER) -> Path:
    """Return the file of a ring.

    Raises:
        ConfigError: a name that is no plain word.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"shm://{name[:80]}: the name must be 1 to 64 letters, digits, dots, hyphens"
        )
    return folder / f"rille-{name}"


class ShmWriter(Closing):
    """Puts frames into a ring, for `shm://NAME` to read. Use it as a context manager.

    Args:
        name: of the ring.
        room: bytes of the largest frame's pixels (height x width x channels).
        slots: frames that are kept; a reader has until the ring comes round to copy one.
        folder: where rings are; another one only for tests.

    Raises:
        ConfigError: a name, a size or a number of slots that cannot be.
        SinkError: the file cannot be made.
    """

    def __init__(self, name: str, room: int, slots: int = 4, folder: Path = FOLDER) -> None:
        self.path = ring_path(name, folder)
        if not 1 <= room <= MAX_BODY or not _FEWEST <= slots <= _MOST:
            raise ConfigError(
                f"shm://{name}: room must be 1 to {MAX_BODY} bytes, slots {_FEWEST} to {_MOST}"
            )
        self._room, self._slots, self._count = room, slots, 0
        self._memory = self._make()
        self._pixels = np.frombuffer(self._memory, np.uint8)

    def _make(self) -> mmap.mmap:
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        size = HEAD_BYTES + self._slots * (HEAD_BYTES + self._room)
        try:
            partial.unlink(missing_ok=True)
            # Anybody may write in this folder: a link that waits under this name is not followed.
            made = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                os.posix_fallocate(made, 0, size)  # full memory is told now, not by SIGBUS later
                memory = mmap.mmap(made, size)
            finally:
                os.close(made)
            _HEAD.pack_into(memory, 0, _MAGIC, VERSION, self._slots, self._room, 0)
            partial.replace(self.path)
        except OSError as wrong:
            partial.unlink(missing_ok=True)
            raise sink_error(self.path, wrong) from None
        return memory

    def write(
        self,
        pixels: NDArray[np.uint8],
        captured_ns: int | None = None,
        source_ns: int | None = None,
    ) -> None:
        """Put a frame in; it takes the place of the oldest.

        Args:
            pixels: (H, W, 3) RGB or (H, W) grey, uint8.
            captured_ns: when it was captured, on the monotonic clock; None for now.
            source_ns: the camera's own time stamp.

        Raises:
            SinkError: it is larger than the ring's room, or no such image.
        """
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        if pixels.dtype != np.uint8 or channels not in (1, 3) or pixels.size > self._room:
            raise SinkError(
                f"{self.path}: a frame {list(pixels.shape)} of {pixels.dtype} does not fit in; "
                f"there is room for {self._room} bytes"
            )
        flat = np.ascontiguousarray(pixels).reshape(-1)
        at = HEAD_BYTES + (self._count % self._slots) * (HEAD_BYTES + self._room)
        (sequence,) = _COUNT.unpack_from(self._memory, at)
        _COUNT.pack_into(self._memory, at, sequence + 1)
        self._pixels[at + HEAD_BYTES : at + HEAD_BYTES + flat.size] = flat
        captured = time.monotonic_ns() if captured_ns is None else captured_ns
        source = -1 if source_ns is None else source_ns
        _SLOT.pack_into(
            self._memory, at, sequence + 1, self._count, captured, source,
            pixels.shape[0], pixels.shape[1], channels, zlib.crc32(flat.data),
        )  # fmt: skip
        self._publish(at, sequence)

    def _publish(self, at: int, sequence: int) -> None:
        """Let readers see the slot that begins at a byte of the ring, now that it is filled."""
        _COUNT.pack_into(self._memory, at, sequence + 2)
        self._count += 1
        _COUNT.pack_into(self._memory, _COUNT_AT, self._count)

    def close(self) -> None:
        """Take the ring away; safe to call twice."""
        if not self._memory.closed:
            del self._pixels
            self._memory.close()
            self.path.unlink(missing_ok=True)


class ShmReader:
    """Takes the newest frame out of a ring; frames that were there before it came are left alone.

    It reads the file instead of mapping it: one that is cut short then gives short reads, where
    mapped memory would kill this process.

    Args:
        name: of the ring.
        folder: where rings are.

    Raises:
        SourceNotFoundError: there is none of that name.
        SourceError: it is no ring, of another version, or shorter than it says.
    """

    def __init__(self, name: str, folder: Path = FOLDER) -> None:
        self.name, self._path = name, ring_path(name, folder)
        try:
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise SourceNotFoundError(
                f"shm://{name}: no such ring ({self._path}); is the program that writes it running?"
            ) from None
        except OSError as wrong:
            raise SourceError(f"shm://{name}: cannot be opened ({wrong.strerror})") from None
        try:
            self._room, self._slots, self._next = self._check()
        except SourceError:
            os.close(self._file)
            raise

    def _check(self) -> tuple[int, int, int]:
        head = os.pread(self._file, HEAD_BYTES, 0)
        if len(head) < HEAD_BYTES or not head.startswith(_MAGIC):
            raise SourceError(f"shm://{self.name}: {self._path} is no ring of frames")
        _, version, slots, room, count = _HEAD.unpack_from(head)
        if version != VERSION:
            raise SourceError(f"shm://{self.name}: ring of version {version}, not {VERSION}")
        known = _FEWEST <= slots <= _MOST and 1 <= room <= MAX_BODY
        size = HEAD_BYTES + slots * (HEAD_BYTES + room)
        if not known or os.fstat(self._file).st_size < size:
            raise SourceError(
                f"shm://{self.name}: says {slots} slots of {room} bytes, which it does not have"
            )
        return room, slots, count

    def take(self) -> Shot | None:
        """Return the newest frame, or None where it was taken already.

        Raises:
            SourceError: its count goes back, or jumps further than can be believed.
        """
        head = os.pread(self._file, _COUNT.size, _COUNT_AT)
        if len(head) < _COUNT.size:
            raise SourceError(f"shm://{self.name}: was cut short")
        (count,) = _COUNT.unpack(head)
        if count == self._next:
            return None
        missed = count - 1 - self._next
        if not 0 <= missed <= MOST_MISSED:
            raise SourceError(f"shm://{self.name}: its count jumps by {missed + 1} frames")
        self._next = count
        return self._copy(count - 1, missed)

    def _copy(self, number: int, missed: int) -> Shot:
        at = HEAD_BYTES + (number % self._slots) * (HEAD_BYTES + self._room)
        head = os.pread(self._file, HEAD_BYTES, at)
        if len(head) < HEAD_BYTES:
            raise SourceError(f"shm://{self.name}: was cut short")
        before, found, captured, source, height, width, channels, sum_ = _SLOT.unpack_from(head)
        if before % 2 or found != number:
            return self._damaged(missed, "overwritten before it could be read")
        sides = 1 <= height <= _MOST_SIDE and 1 <= width <= _MOST_SIDE and channels in (1, 3)
        if not sides or height * width * channels > self._room:
            return self._damaged(missed, f"says {width} x {height} x {channels}, which cannot be")
        pixels = np.empty((height, width, channels), np.uint8)
        read = os.preadv(self._file, [pixels.data.cast("B")], at + HEAD_BYTES)
        after = os.pread(self._file, _COUNT.size, at)
        if read < pixels.size or after != _COUNT.pack(before):
            return self._damaged(missed, "torn: overwritten while it was read")
        if zlib.crc32(pixels.data) != sum_:
            return self._damaged(missed, "its checksum does not fit its pixels")
        return Shot(
            pixels[:, :, 0] if channels == 1 else pixels,
            source if source >= 0 else None,
            captured if captured >= 0 else None,
            missed,
        )

    def _damaged(self, missed: int, why: str) -> Shot:
        return Shot(None, missed=missed, fault=f"shm://{self.name}: {why}")

    def current(self) -> bool:
        """Return whether the ring of this name is still the one that is read."""
        try:
            there = self._path.stat()
        except OSError:
            return False
        here = os.fstat(self._file)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)
