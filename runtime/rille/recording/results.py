"""Result records from a file: `results.jsonl`, or a recording."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rille.errors import SourceError, SourceNotFoundError
from rille.recording.container import MAGIC
from rille.recording.read import open_recording

MAX_LINE_BYTES = 16 * 1024 * 1024


class ResultFile:
    """The result records of one file, in its order.

    Args:
        path: `results.jsonl` or a recording; which, its first bytes tell.

    Attributes:
        cut: after an iteration: empty, or what is missing at the end of the file.

    Raises:
        SourceError: no such file, or, while iterating, damaged; what came before is sound.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.cut = ""
        try:
            with path.open("rb") as file:
                self._recording = file.read(len(MAGIC)) == MAGIC
        except FileNotFoundError:
            raise SourceNotFoundError(f"{path}: no such file") from None
        except OSError as wrong:
            raise SourceError(f"{path}: cannot be read ({wrong.strerror})") from None

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        if not self._recording:
            yield from self._lines()
            return
        recording = open_recording(self._path)
        for frame in recording.frames():
            yield frame.record
        self.cut = recording.cut

    def _lines(self) -> Iterator[dict[str, Any]]:
        self.cut = ""
        with self._path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES):
                number += 1
                if not line.endswith(b"\n"):
                    if len(line) == MAX_LINE_BYTES:
                        raise SourceError(f"{self._path}: line {number} is too long, refused")
                    self.cut = f"line {number} is incomplete; {len(line)} bytes are lost"
                    return
                yield self._parse(line, number)

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as wrong:
            raise SourceError(
                f"{self._path}: line {number} is not valid JSON: {str(wrong)[:80]}"
            ) from None
        if not isinstance(record, dict) or not isinstance(record.get("frame"), int):
            raise SourceError(f"{self._path}: line {number} is no result of a frame")
        return record
