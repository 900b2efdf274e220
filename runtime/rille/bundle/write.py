"""Writing a bundle: complete, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from rille.bundle.load import MANIFEST, Bundle, load_bundle
from rille.bundle.manifest import FileEntry, Manifest
from rille.bundle.sign import SIGNATURE, signed
from rille.errors import SinkError
from rille.files import exchange, sync_folder


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
    return _write(folder, {**files, MANIFEST: manifest.to_json().encode()})


def copy(bundle: Bundle, folder: Path) -> Bundle:
    """Write a bundle as a folder, signature and all.

    Args:
        bundle: verified.
        folder: where; an earlier bundle there is replaced when the new one is complete.

    Raises:
        SinkError: it cannot be written; what was there before is untouched.
    """
    return _write(folder, _members(bundle))


def _members(bundle: Bundle) -> dict[str, bytes]:
    """Return every file of a bundle, manifest and signature included."""
    members = {**bundle.files, MANIFEST: bundle.text}
    if bundle.signature is not None:
        members[SIGNATURE] = bundle.signature
    return members


def _write(folder: Path, members: Mapping[str, bytes]) -> Bundle:
    folder = folder.resolve()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as wrong:
        raise SinkError(f"{folder}: cannot be written ({wrong.strerror})") from None
    try:
        for name, data in members.items():
            with (fresh / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        load_bundle(fresh)
        fresh.chmod(0o755)
        sync_folder(fresh)
        _swap(fresh, folder)
        sync_folder(folder.parent)
    except OSError as wrong:
        raise SinkError(f"{folder}: cannot be written ({wrong.strerror})") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return load_bundle(folder)


def pack(bundle: Bundle, path: Path) -> None:
    """Write a bundle as one zip, stored plain; equal bundles make equal files.

    Args:
        bundle: verified.
        path: where; an earlier file is replaced when the new one is complete.

    Raises:
        SinkError: it cannot be written.
    """
    members = _members(bundle)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(members):
                # A fixed date: the zip shall depend on nothing but the bundle.
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), members[name])
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as wrong:
        raise SinkError(f"{path}: cannot be written ({wrong.strerror})") from None
    finally:
        partial.unlink(missing_ok=True)


def sign(bundle: Bundle, key: Path, folder: Path) -> Bundle:
    """Write a signed copy of a bundle.

    Args:
        bundle: verified.
        key: file of a private key.
        folder: where; an earlier bundle there is replaced when the new one is complete.

    Returns:
        The copy, read back with its signature checked.

    Raises:
        ConfigError: no such key.
        SinkError: it cannot be written.
    """
    seal = signed(bundle.text, key)
    _write(folder, {**_members(bundle), SIGNATURE: seal})
    return load_bundle(folder, [json.loads(seal)["key"]])


def file_entries(files: Mapping[str, bytes]) -> dict[str, FileEntry]:
    """Return size and SHA-256 of each file."""
    return {
        name: FileEntry(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in files.items()
    }


def _swap(fresh: Path, folder: Path) -> None:
    """Put `fresh` in the place of `folder`; an earlier one is then in its place, or gone.

    Where two names cannot be exchanged in one step, whoever looks in between finds no folder.
    """
    if not folder.exists():
        fresh.rename(folder)
        return
    if exchange(fresh, folder):
        return
    aside = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    folder.rename(aside)
    try:
        fresh.rename(folder)
    except OSError:
        aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)
