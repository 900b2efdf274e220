"""The records of an MCAP file from anywhere: lengths capped, sums checked, a cut end recognised.

The format is that of mcap.dev/spec. A file of which the end is missing, because the power went or
the process was killed, is read up to its last whole record; anything else that does not fit is
damage, and an error.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from rille.errors import SourceError, SourceNotFoundError
from rille.recording.library import library

MAGIC = b"\x89MCAP0\r\n"
MAX_RECORD_BYTES = 512 * 1024 * 1024
"""The longest record, and the largest chunk once unpacked, that is accepted."""
_HEAD = struct.Struct("<BQ")
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 1, 2, 3, 4, 5, 6
_ATTACHMENT, _METADATA, _DATA_END = 9, 12, 15
_TOPMOST = 0x0F


@dataclass(slots=True)
class Ending:
    """How a file ended, once it was read: `cut` is empty, or says what is missing."""

    cut: str = ""


def read_records(path: Path, ending: Ending) -> Iterator[Any]:
    """Read the records of a file's data section in order, those inside chunks included.

    Args:
        path: the file.
        ending: is told how the file ended.

    Yields:
        `Schema`, `Channel`, `Message`, `Attachment` and `Metadata` of `mcap.records`.

    Raises:
        SourceNotFoundError: no such file.
        ConfigError: the extra is not installed.
        SourceError: not an MCAP file, or damaged; what was yielded before is sound.
    """
    records = library("records")
    try:
        with path.open("rb") as file:
            yield from _Walk(path, file, records, ending).records()
    except FileNotFoundError:
        raise SourceNotFoundError(f"{path}: no such file") from None
    except OSError as wrong:
        raise SourceError(f"{path}: cannot be read ({wrong.strerror})") from None


class _Walk:
    """One pass over a file."""

    def __init__(self, path: Path, file: IO[bytes], records: Any, ending: Ending) -> None:
        self._path, self._file, self._ending = path, file, ending
        self._size = file.seek(0, 2)
        file.seek(max(0, self._size - len(MAGIC)))
        self._has_end = file.read() == MAGIC and self._size > 2 * len(MAGIC)
        file.seek(0)
        self._sum, self._before_head, self._at = 0, 0, 0
        self._parsers: dict[int, Callable[[Any, int], Any]] = {
            _SCHEMA: lambda stream, size: records.Schema.read(stream),
            _CHANNEL: lambda stream, size: records.Channel.read(stream),
            _MESSAGE: records.Message.read,
            _CHUNK: lambda stream, size: records.Chunk.read(stream),
            _ATTACHMENT: lambda stream, size: records.Attachment.read(stream),
            _METADATA: lambda stream, size: records.Metadata.read(stream),
            _DATA_END: lambda stream, size: records.DataEnd.read(stream),
        }

    def records(self) -> Iterator[Any]:
        if self._take(len(MAGIC)) != MAGIC:
            raise SourceError(f"{self._path}: not an MCAP file")
        while (head := self._next_head()) is not None:
            kind, size = head
            start = self._at
            body = self._take(size)
            if kind == _DATA_END:
                stated = self._parse(kind, body, start).data_section_crc
                if stated not in (0, self._before_head):
                    raise self._damaged(start, "the sum over the whole file does not fit")
                return
            if kind == _CHUNK:
                yield from self._unpack(self._parse(kind, body, start), start)
            elif kind in self._parsers:
                if kind == _ATTACHMENT:
                    self._check_attachment(body, start)
                yield self._parse(kind, body, start)

    def _next_head(self) -> tuple[int, int] | None:
        """Return opcode and length of the next record; None where the file was cut."""
        left = self._size - self._at
        self._before_head = self._sum
        if left < _HEAD.size:
            self._note_cut(left)
            return None
        kind, size = _HEAD.unpack(self._take(_HEAD.size))
        if kind == 0 and size == 0 and not self._has_end:
            # A file system that lost power gives a file its length before its content.
            self._note_cut(left)
            return None
        if not 0 < kind <= _TOPMOST and kind < 0x80:
            raise self._damaged(self._at, f"there is no record of kind {kind}")
        if size > MAX_RECORD_BYTES:
            raise self._damaged(self._at, f"a record of {size} bytes, refused")
        if size > self._size - self._at:
            self._note_cut(left)
            return None
        return kind, size

    def _note_cut(self, left: int) -> None:
        if self._has_end:
            raise self._damaged(self._at, "a record is longer than the file")
        self._ending.cut = (
            f"the end of the file is missing; {left} bytes after the last whole record are lost"
        )

    def _take(self, size: int) -> bytes:
        data = self._file.read(size)
        self._at += len(data)
        self._sum = zlib.crc32(data, self._sum)
        return data

    def _parse(self, kind: int, body: bytes, start: int) -> Any:
        stream = library("data_stream").ReadDataStream(BytesIO(body))
        try:
            return self._parsers[kind](stream, len(body))
        except (library("exceptions").McapError, ValueError, OverflowError, struct.error) as wrong:
            # OverflowError: a length of more than 2^63 inside the record.
            raise self._damaged(start, f"a record cannot be read ({wrong})") from None

    def _check_attachment(self, body: bytes, start: int) -> None:
        stated = int.from_bytes(body[-4:], "little")
        if stated not in (0, zlib.crc32(body[:-4])):
            raise self._damaged(start, "the sum of an attachment does not fit")

    def _unpack(self, chunk: Any, start: int) -> Iterator[Any]:
        """Yield what a chunk holds, after checking its sum."""
        if chunk.uncompressed_size > MAX_RECORD_BYTES:
            raise self._damaged(start, f"a chunk of {chunk.uncompressed_size} bytes, refused")
        data = self._decompress(chunk, start)
        if chunk.uncompressed_crc not in (0, zlib.crc32(data)):
            raise self._damaged(start, "the sum of a chunk does not fit")
        at = 0
        while at < len(data):
            if len(data) - at < _HEAD.size:
                raise self._damaged(start, "a chunk ends inside a record")
            kind, size = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            if size > len(data) - at:
                raise self._damaged(start, "a chunk ends inside a record")
            if kind in (_SCHEMA, _CHANNEL, _MESSAGE):
                yield self._parse(kind, data[at : at + size], start)
            at += size

    def _decompress(self, chunk: Any, start: int) -> bytes:
        """Unpack a chunk into exactly as many bytes as it states, and no more."""
        size = chunk.uncompressed_size
        try:
            data = _UNPACKERS[chunk.compression](chunk.data, size)
        except KeyError:
            raise SourceError(
                f"{self._path}: chunks are packed with {chunk.compression[:20]!r}; "
                "supported are zstd, lz4 and none"
            ) from None
        except Exception as wrong:
            # Each library has its own errors, and lz4 raises RuntimeError for most.
            raise self._damaged(start, f"a chunk cannot be unpacked ({wrong})") from None
        if len(data) != size:
            raise self._damaged(start, "a chunk is not as long as it states")
        return data

    def _damaged(self, at: int, why: str) -> SourceError:
        return SourceError(f"{self._path}: damaged at byte {at}: {why}")


def _zstd(data: bytes, size: int) -> bytes:
    import zstandard

    # A frame that states its size is given that much memory, whatever the caller allows.
    if zstandard.frame_content_size(data) not in (-1, size):
        raise ValueError("it states two sizes")
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=size)


def _lz4(data: bytes, size: int) -> bytes:
    import lz4.frame

    unpacked: bytes = lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=size)
    return unpacked


_UNPACKERS: dict[str, Callable[[bytes, int], bytes]] = {
    "": lambda data, size: data,
    "zstd": _zstd,
    "lz4": _lz4,
}
