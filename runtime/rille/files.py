"""Files that are whole, or grow by whole records; and why one cannot be written, in words."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from pathlib import Path

from rille.errors import SinkError

_HERE, _EXCHANGE = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE of renameat2."""


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
        sync_folder(path.parent)
    except OSError as wrong:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise sink_error(path, wrong) from None


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where its file system can.

    Raises:
        OSError: the disk refuses.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as wrong:
        if wrong.errno != errno.EINVAL:  # not every file system can
            raise
    finally:
        os.close(handle)


def exchange(one: Path, other: Path) -> bool:
    """Let two files or folders have each other's name, in one step.

    Returns:
        Whether it was done; some file systems and C libraries cannot.

    Raises:
        OSError: one of them is not there, or may not be changed.
    """
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2  # Linux 3.15, glibc 2.28
    except AttributeError:
        return False
    if not call(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE):
        return True
    wrong = ctypes.get_errno()
    if wrong in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(wrong, os.strerror(wrong), str(one))


class RecordFile:
    """A file that grows by whole records: one that does not fit any more is taken back.

    Each record goes to the system in one call, so that a process that is killed can leave at most
    its last record torn.

    Args:
        path: the file; an earlier one is replaced.

    Attributes:
        size: bytes written, all of them whole records.

    Raises:
        SinkError: it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = 0
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._file: int | None = os.open(path, flags, 0o644)
        except OSError as wrong:
            raise sink_error(path, wrong) from None

    def write(self, record: bytes) -> None:
        """Write one record; a closed file takes none.

        Raises:
            SinkError: the disk is full, or otherwise refuses; the records before are whole.
        """
        if self._file is None:
            return
        try:
            written = os.write(self._file, record)
            while written < len(record):
                written += os.write(self._file, record[written:])
        except OSError as wrong:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self.size)
                os.lseek(self._file, self.size, os.SEEK_SET)
            raise sink_error(self._path, wrong) from None
        self.size += len(record)

    def close(self) -> None:
        """Bring the file to the disk and close it; safe to call twice.

        Raises:
            SinkError: the disk refuses.
        """
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            os.fsync(file)
        except OSError as wrong:
            if wrong.errno != errno.EINVAL:  # a pipe or a device cannot be brought to a disk
                raise sink_error(self._path, wrong) from None
        finally:
            os.close(file)


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


def cache_folder() -> Path:
    """Return the folder for what can be made again: `rille` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "rille"
