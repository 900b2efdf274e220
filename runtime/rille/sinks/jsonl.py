"""`jsonl://FILE`: one JSON object a frame and line, losses included."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from rille.files import sink_error
from rille.result import Result


class JsonLines:
    """Writes results as lines of JSON, each in one system call, so that every line is whole.

    Args:
        path: the file; an earlier one is replaced.

    Raises:
        SinkError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._whole = 0
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._file: int | None = os.open(path, flags, 0o644)
        except OSError as wrong:
            raise sink_error(path, wrong) from None

    def write(self, result: Result) -> None:
        """Write one line; a line that does not fit any more is taken back.

        Raises:
            SinkError: the disk is full, or otherwise refuses; the lines before are whole.
        """
        if self._file is None:
            return
        line = json.dumps(result.to_json(), separators=(",", ":"), allow_nan=False).encode() + b"\n"
        try:
            written = os.write(self._file, line)
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError as wrong:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._whole)
            raise sink_error(self._path, wrong) from None
        self._whole += len(line)

    def close(self) -> None:
        """Bring the file to the disk and close it.

        Raises:
            SinkError: the disk refuses.
        """
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            os.fsync(file)
        except OSError as wrong:
            raise sink_error(self._path, wrong) from None
        finally:
            os.close(file)
