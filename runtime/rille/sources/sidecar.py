"""What the vehicle knew, in a file beside the frames: CSV or JSON lines, one line for a frame.

A line names its frame by `name` or by `index` (from 0). The other columns are the fields of
`rille.vehicle.Vehicle`; in CSV a pose is written in columns like `pose.x_m`, and an empty cell is
what is not known.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rille.errors import ConfigError, SourceError, SourceNotFoundError, nearest
from rille.schema import build
from rille.vehicle import Vehicle

if TYPE_CHECKING:
    from typing import TextIO

USUAL_NAME = "vehicle.jsonl"
"""A file of this name in a folder of images is read unasked."""
_MOST_LINES, _LONGEST_LINE = 1_000_000, 8192
_KEYS = ("name", "index")
_FIELDS = tuple(f.name for f in fields(Vehicle))
_POSE = "pose."


class Sidecar:
    """Looks up what the vehicle knew about a frame.

    Args:
        path: the file; `.csv`, or else JSON lines.

    Raises:
        SourceNotFoundError: no such file.
        SourceError: a line that is malformed, too long, out of range, or one frame's second; says
            file and line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._by_name: dict[str, Vehicle] = {}
        self._by_index: dict[int, Vehicle] = {}
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = self._csv(file) if path.suffix.lower() == ".csv" else self._jsonl(file)
                for where, row in rows:
                    self._add(where, row)
        except FileNotFoundError:
            raise SourceNotFoundError(f"{path}: no such sidecar file") from None
        except (OSError, UnicodeDecodeError, csv.Error) as wrong:
            raise SourceError(f"{path}: cannot be read ({wrong})") from None

    def of(self, index: int, name: str) -> Vehicle | None:
        """Return what is known about a frame; its name goes before its index."""
        return self._by_name.get(name) or self._by_index.get(index)

    def __len__(self) -> int:
        return len(self._by_name) + len(self._by_index)

    def _add(self, where: str, row: dict[str, Any]) -> None:
        name, index = row.pop("name", None), row.pop("index", None)
        if (name is None) == (index is None):
            raise SourceError(f"{where}: needs a name or an index, one of them")
        vehicle = build(Vehicle, row, where, SourceError)
        if name is not None:
            if not isinstance(name, str) or name in self._by_name:
                raise SourceError(f"{where}: name {str(name)[:60]!r} is no text, or came before")
            self._by_name[name] = vehicle
            return
        if type(index) is not int or index < 0 or index in self._by_index:
            raise SourceError(
                f"{where}: index {str(index)[:60]} is no whole number from 0, or came before"
            )
        self._by_index[index] = vehicle

    def _lines(self, file: TextIO) -> Iterator[tuple[str, str]]:
        """Give the lines, and what to call each in an error."""
        for number in itertools.count(1):
            line = file.readline(_LONGEST_LINE + 1)
            if not line:
                return
            where = f"{self._path}: line {number}"
            if len(line) > _LONGEST_LINE or number > _MOST_LINES:
                raise SourceError(
                    f"{where}: at most {_MOST_LINES:,} lines of {_LONGEST_LINE} characters"
                )
            if line.strip():
                yield where, line

    def _jsonl(self, file: TextIO) -> Iterator[tuple[str, dict[str, Any]]]:
        for where, line in self._lines(file):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                raise SourceError(f"{where}: not valid JSON") from None
            if not isinstance(row, dict):
                raise SourceError(f"{where}: must be a table of names and values")
            self._check_columns(where, list(row), (*_KEYS, *_FIELDS))
            yield where, row

    def _csv(self, file: TextIO) -> Iterator[tuple[str, dict[str, Any]]]:
        lines = self._lines(file)
        where, head = next(lines, ("", ""))
        columns = [text.strip() for text in next(csv.reader([head]), [])]
        if not set(columns) & set(_KEYS):
            raise SourceError(f"{self._path}: line 1: needs a column 'name' or 'index'")
        plain = [c for c in columns if not c.startswith(_POSE)]
        self._check_columns(where, plain, (*_KEYS, *_FIELDS[:-1]))
        if len(set(columns)) < len(columns):
            raise SourceError(f"{where}: two columns of one name")
        for where, line in lines:
            cells = next(csv.reader([line]))
            if len(cells) != len(columns):
                raise SourceError(f"{where}: {len(cells)} cells under {len(columns)} columns")
            yield where, _row(where, columns, cells)

    @staticmethod
    def _check_columns(where: str, columns: list[str], known: tuple[str, ...]) -> None:
        for column in columns:
            if column not in known:
                raise SourceError(
                    f"{where}: no column {column[:60]!r}{nearest(column[:60], list(known))} "
                    f"(known: {', '.join(known)}, and pose.NAME in CSV)"
                )


def _row(where: str, columns: list[str], cells: list[str]) -> dict[str, Any]:
    """Return the cells of a line of CSV as JSON would have them."""
    row: dict[str, Any] = {}
    for column, text in zip(columns, (cell.strip() for cell in cells), strict=True):
        if not text:
            continue
        value = text if column == "name" else _number(where, column, text)
        if column.startswith(_POSE):
            row.setdefault("pose", {})[column[len(_POSE) :]] = value
        else:
            row[column] = value
    return row


def _number(where: str, column: str, text: str) -> float | int:
    try:
        return int(text) if column == "index" else float(text)
    except ValueError:
        raise SourceError(f"{where}: {column} must be a number, not {text[:40]!r}") from None


def sidecar_of(folder: Path, asked: str | None) -> Sidecar | None:
    """Return the sidecar that is asked for, or the one that is there.

    Args:
        folder: where the frames are.
        asked: the file, absolute or in that folder; None for `USUAL_NAME` if it is there.

    Raises:
        ConfigError: asked for without a name.
        SourceError: see `Sidecar`.
    """
    if asked == "":
        raise ConfigError(f"{folder}: sidecar needs a file, as in sidecar=meta.csv")
    if asked is None and not (folder / USUAL_NAME).is_file():
        return None
    return Sidecar(folder / (asked or USUAL_NAME))
