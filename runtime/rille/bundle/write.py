"""Writing a bundle: complete, or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rille.bundle.load import MANIFEST, Bundle, load_bundle
from rille.bundle.manifest import FileEntry, Manifest
from rille.errors import SinkError


def write_bundle(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle folder, replacing an earlier one only when the new one is complete.

    Args:
        folder: where; its parent is made if needed.
        manifest: its `files` must describe `files`; see `file_entries`.
        files: name -> content.

    Returns:
        The bundle, read back and verified.

    Raises:
        SinkError: it cannot be written; what was there before is untouched.
        BundleError: what was written does not verify.
    """
    folder = folder.resolve()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as wrong:
        raise SinkError(f"{folder}: cannot be written ({wrong.strerror})") from None
    try:
        for name, data in {**files, MANIFEST: manifest.to_json().encode()}.items():
            with (fresh / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        load_bundle(fresh)
        fresh.chmod(0o755)
        _swap(fresh, folder)
    except OSError as wrong:
        raise SinkError(f"{folder}: cannot be written ({wrong.strerror})") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return load_bundle(folder)


def file_entries(files: Mapping[str, bytes]) -> dict[str, FileEntry]:
    """Return size and SHA-256 of each file."""
    return {
        name: FileEntry(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in files.items()
    }


def _swap(fresh: Path, folder: Path) -> None:
    """Put `fresh` in the place of `folder`, an earlier one aside first, and back on failure."""
    if not folder.exists():
        fresh.rename(folder)
        return
    aside = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    folder.rename(aside)
    try:
        fresh.rename(folder)
    except OSError:
        aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)
