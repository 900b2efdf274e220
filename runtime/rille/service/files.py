"""Files of a service: all of them written or none, and only those that rille wrote taken away."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rille.errors import ConfigError, SinkError
from rille.files import sink_error, write_whole
from rille.schema import read_text

MARK = "`rille service install`"
"""Stands in the first line of each file that rille wrote."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceFile:
    """One file.

    Attributes:
        path: where it belongs on the machine, absolute.
        content: its text.
        users: whether it belongs to the user, who may change it.
    """

    path: Path
    content: str
    users: bool = False


def below(prefix: Path, path: Path) -> Path:
    """Return where a file lies when `prefix` stands for the root of the file system."""
    return prefix / path.relative_to("/")


def write(files: Sequence[ServiceFile], prefix: Path) -> list[Path]:
    """Write files; where one cannot be written, those before it are as they were.

    Args:
        files: what to write.
        prefix: stands for the root of the file system.

    Returns:
        The paths written.

    Raises:
        ConfigError: somebody else's file is there, or one cannot be read.
        SinkError: one cannot be written.
    """
    wanted = [(below(prefix, file.path), file.content) for file in files]
    before = {below(prefix, file.path): _present(file, prefix) for file in files}
    done: list[Path] = []
    try:
        for path, content in wanted:
            _write(path, content)
            done.append(path)
    except SinkError:
        for path in done:
            earlier = before[path]
            with contextlib.suppress(SinkError, OSError):
                path.unlink() if earlier is None else _write(path, earlier)
        raise
    return done


def written(paths: Iterable[Path], prefix: Path) -> list[Path]:
    """Return those of some paths where a file is that rille wrote, below the prefix.

    Raises:
        ConfigError: a file with that name is somebody else's.
    """
    places = [below(prefix, path) for path in paths]
    return [place for place in places if _ours(place) is not None]


def remove(paths: Iterable[Path]) -> None:
    """Take files away, and the folder of additions to the unit where it is empty then.

    Raises:
        SinkError: one cannot be taken away.
    """
    for path in paths:
        try:
            path.unlink()
        except OSError as wrong:
            raise sink_error(path, wrong) from None
        if path.parent.name == "rille.service.d":
            with contextlib.suppress(OSError):  # something else lies in it
                path.parent.rmdir()


def _present(file: ServiceFile, prefix: Path) -> str | None:
    path = below(prefix, file.path)
    return _text_of(path) if file.users else _ours(path)


def _ours(path: Path) -> str | None:
    """Return what is in a file that rille wrote; None where there is no such file.

    Raises:
        ConfigError: rille did not write it, or it cannot be read.
    """
    text = _text_of(path)
    if text is not None and MARK not in text.partition("\n")[0]:
        raise ConfigError(
            f"{path}: was not written by rille and is left alone; move it away, or adapt it "
            "yourself"
        )
    return text


def _text_of(path: Path) -> str | None:
    if not path.exists():
        return None
    return read_text(path, ConfigError)


def _write(path: Path, content: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as wrong:
        raise sink_error(path, wrong) from None
    write_whole(path, content)
    try:
        path.chmod(0o644)  # systemd and the service's user read it, whatever our umask
    except OSError as wrong:
        raise sink_error(path, wrong) from None
