"""Writing a file completely or not at all, and saying in words why it cannot be written."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from rille.errors import SinkError


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name beside it, then give it its name.

    Raises:
        SinkError: it cannot be written; an earlier file is untouched and no part is left.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())  # a name must not outlive a power cut that its content did not
        partial.replace(path)
    except OSError as wrong:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise sink_error(path, wrong) from None


def sink_error(path: Path, wrong: OSError) -> SinkError:
    """Return an error that names the file, says why it cannot be written, and what to do."""
    ways = {
        errno.ENOSPC: "the disk is full; free some space or write elsewhere",
        errno.EDQUOT: "the disk quota is used up; free some space or write elsewhere",
        errno.EROFS: "the file system is read-only; write elsewhere",
        errno.EACCES: "permission denied; write elsewhere",
    }
    why = ways.get(wrong.errno or 0, wrong.strerror or str(wrong))
    return SinkError(f"{path}: cannot be written: {why}")
