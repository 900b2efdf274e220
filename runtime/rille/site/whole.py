"""Whether what lies in a slot is, byte for byte, what was installed there: digests alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rille.errors import BundleError, DigestError
from rille.site.slots import SlotTable

_MANIFEST = "manifest.json"


def check_file(where: str, name: str, data: bytes | None, length: int, sha256: str) -> bytes:
    """Return the bytes of a file, if they are those that its manifest names.

    Args:
        where: the bundle, for an error.
        name: of the file.
        data: what was read: at most one byte more than `length`; None where there is no file.
        length, sha256: what the manifest says.

    Raises:
        DigestError: they are not.
    """
    if data is None:
        raise DigestError(f"{where}: {name} is missing; fetch the bundle again")
    if len(data) != length:
        more = "more than " if len(data) > length else f"{len(data)} bytes, not "
        raise DigestError(
            f"{where}: {name} has {more}the {length} bytes its manifest states; "
            "fetch the bundle again"
        )
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DigestError(
            f"{where}: {name} is not the file its manifest names (SHA-256 differs): "
            "damaged or tampered with; fetch the bundle again"
        )
    return data


def read_file(path: Path, limit: int) -> bytes | None:
    """Read at most one byte more than `limit`, so that a longer file shows.

    Returns:
        The bytes; None where there is no such file, or a link in its place.

    Raises:
        BundleError: it cannot be read.
    """
    if path.is_symlink() or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as wrong:
        raise BundleError(f"{path}: cannot be read ({wrong.strerror})") from None


def check_slot(site: Path, table: SlotTable, slot: str) -> None:
    """Check every byte of what lies in a slot, without understanding it.

    The manifest is the one that was understood when it was installed, or its digest would differ.

    Args:
        site: the folder.
        table: its table.
        slot: a filled one.

    Raises:
        DigestError: something is missing or changed.
        BundleError: it cannot be read.
    """
    folder = site / slot
    text = read_file(folder / _MANIFEST, 1 << 20)
    if text is None or hashlib.sha256(text).hexdigest() != table.slots[slot].digest:
        raise DigestError(f"{folder}: is not the bundle that was installed (its digest differs)")
    try:
        named = {name: (row["bytes"], row["sha256"]) for name, row in _files(text)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BundleError(f"{folder}: {_MANIFEST} names no files") from None
    for name, (length, sha256) in named.items():
        check_file(str(folder), name, read_file(folder / name, length), length, sha256)


def _files(text: bytes) -> Iterable[tuple[str, Any]]:
    files: dict[str, Any] = json.loads(text)["files"]
    return files.items()
