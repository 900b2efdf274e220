"""The files of a benchmark, all of them or none."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from pathlib import Path

from rille.bench.page import page_of
from rille.bench.record import BenchRecord
from rille.bench.words import markdown_of
from rille.errors import SinkError
from rille.files import sink_error, write_whole


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be written into, before anything is measured.

    Raises:
        SinkError: it is a file, or it or the folder it is to be made in is not writable.
    """
    if folder.exists() and not folder.is_dir():
        raise SinkError(f"{folder}: is not a folder; name another for --out")
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise SinkError(f"{folder}: cannot be written: {there} is not writable; write elsewhere")


def write_bench(folder: Path, record: BenchRecord) -> None:
    """Write bench.json, bench.md and bench.html into a folder, which is made if need be.

    Raises:
        SinkError: one cannot be written; earlier files are untouched, and no part is left.
    """
    files = {
        "bench.md": markdown_of(record),
        "bench.html": page_of(record),
        "bench.json": json.dumps(record.to_json(), indent=1, allow_nan=False) + "\n",
    }
    made = not folder.exists()
    fresh = {name: folder / f".{name}.fresh" for name in files}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_whole(fresh[name], content)
            if (folder / name).is_dir():
                raise IsADirectoryError(errno.EISDIR, f"{name} is a folder")
        for name, path in fresh.items():
            path.replace(folder / name)
    except (OSError, SinkError) as wrong:
        with contextlib.suppress(OSError):
            for path in fresh.values():
                path.unlink(missing_ok=True)
            if made:
                folder.rmdir()
        raise wrong if isinstance(wrong, SinkError) else sink_error(folder, wrong) from None
