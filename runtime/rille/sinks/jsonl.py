"""`jsonl://FILE?max_mb=64&keep=5`: one JSON object a line, for each frame, loss and event."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rille.errors import ConfigError, SourceError
from rille.files import RecordFile, sink_error
from rille.sinks.base import Sink

if TYPE_CHECKING:
    from typing_extensions import Self

    from rille.events import Event
    from rille.result import Result
    from rille.uri import SourceUri

MAX_LINE_BYTES = 16 * 1024 * 1024


def json_bytes(record: dict[str, Any]) -> bytes:
    """Return a record as compact JSON in UTF-8; what JSON does not know becomes text."""
    text = json.dumps(record, separators=(",", ":"), allow_nan=False, default=str)
    return text.encode()


def event_record(event: Event) -> dict[str, Any]:
    """Return an event for JSON; numbers that are not finite become text."""
    record = event.to_json()
    record["values"] = {
        key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in record["values"].items()
    }
    return record


class JsonLines(Sink):
    """Writes results and events as lines of JSON, so that one file tells the run.

    Every line is whole, except that a process that is killed may leave its last one torn;
    `read_lines` copes with exactly that.

    Args:
        path: the file. Without `max_bytes` an earlier one is replaced; with it, the earlier one
            becomes FILE.1, so that a restart loses nothing.
        max_bytes: size from which a new file is begun, the full one becoming FILE.1; None for a
            file without bounds. A single longer line has a file to itself.
        keep: how many full files are kept.

    Raises:
        SinkError: it cannot be written.
    """

    takes_pixels = False
    recovers = True

    def __init__(self, path: Path, max_bytes: int | None = None, keep: int = 5) -> None:
        self._path, self._max_bytes, self._keep = path, max_bytes, keep
        if max_bytes is not None:
            self._shift()
        self._file: RecordFile | None = RecordFile(path)
        self._closed = False

    @classmethod
    def from_uri(cls, uri: SourceUri) -> Self:
        """Make one from its URI; see `Sink.from_uri`."""
        uri.check_options(["max_mb", "keep"])
        size_mb = uri.number("max_mb", None, 0.01, 1_000_000)
        keep = uri.whole("keep", 5, 1, 1000)
        if size_mb is None and "keep" in uri.options:
            raise ConfigError(f"{uri.text}: keep needs max_mb, the size of one file")
        return cls(Path(uri.target), None if size_mb is None else round(size_mb * 1e6), keep)

    def write(self, result: Result) -> None:
        """Write one line; a line that does not fit any more is taken back.

        Raises:
            SinkError: the disk is full, or otherwise refuses; the lines before are whole.
        """
        self._append(json_bytes(result.to_json()) + b"\n")

    def event(self, event: Event) -> None:
        """Write one line, as `write`."""
        self._append(json_bytes(event_record(event)) + b"\n")

    def close(self) -> None:
        """Bring the file to the disk and close it.

        Raises:
            SinkError: the disk refuses.
        """
        self._closed = True
        if self._file is not None:
            self._file.close()

    def _append(self, line: bytes) -> None:
        if self._closed:
            return
        file = self._file
        if file is not None and self._max_bytes and file.size + len(line) > self._max_bytes:
            self._file = None
            file.close()
            file = None
            self._shift()
        self._file = file or RecordFile(self._path)
        self._file.write(line)

    def _shift(self) -> None:
        """Give FILE the name FILE.1, FILE.1 the name FILE.2 and so on; the last is overwritten.

        An empty FILE stays. From the oldest on, so that a power cut in between loses nothing and
        only leaves a gap.
        """
        try:
            if not self._path.is_file() or not self._path.stat().st_size:
                return
            for k in range(self._keep - 1, -1, -1):
                with contextlib.suppress(FileNotFoundError):
                    _numbered(self._path, k).replace(_numbered(self._path, k + 1))
        except OSError as wrong:
            raise sink_error(self._path, wrong) from None


def _numbered(path: Path, k: int) -> Path:
    return path.with_name(f"{path.name}.{k}") if k else path


def rotated(path: Path) -> list[Path]:
    """Return FILE and its predecessors FILE.1, FILE.2, ... that exist, oldest first."""
    numbers = [0] if path.is_file() else []
    for file in path.parent.glob(f"{path.name}.*"):
        number = file.name[len(path.name) + 1 :]
        if number.isdecimal() and number.isascii() and number[0] != "0":
            numbers.append(int(number))
    return [_numbered(path, k) for k in sorted(numbers, reverse=True)]


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Give the records of one file, results and events, in order.

    A last line that was torn when its process was killed is left out; results have a key "frame",
    events a key "event".

    Raises:
        SourceError: the file cannot be read, or another line is damaged; names the line.
    """
    try:
        with path.open("rb") as file:
            for number in range(1, 1 << 62):
                line = file.readline(MAX_LINE_BYTES + 1)
                if not line:
                    return
                record = _parsed(line)
                if record is not None:
                    yield record
                elif line.endswith(b"\n") or len(line) > MAX_LINE_BYTES:
                    raise SourceError(f"{path}:{number}: not a line of JSON; the file is damaged")
    except OSError as wrong:
        raise SourceError(f"{path}: cannot be read: {wrong.strerror}") from None


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
