"""Result records from a file: `results.jsonl`, or a recording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rille.errors import SourceError, SourceNotFoundError
from rille.recording import open_recording
from rille.recording.container import MAGIC
from rille.sinks.jsonl import read_lines


class ResultFile:
    """The result records of one file, in its order; events are left out.

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
                self._torn = file.seek(0, 2) > 0 and file.seek(-1, 2) >= 0 and file.read() != b"\n"
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
        self.cut = "its last line is torn and was left out" if self._torn else ""
        for record in read_lines(self._path):
            if "event" in record and "frame" not in record:
                continue
            if not isinstance(record.get("frame"), int):
                raise SourceError(f"{self._path}: a line that is neither a result nor an event")
            yield record
