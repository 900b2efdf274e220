"""Opening a bundle: every file is checked against its digest before anything interprets it."""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rille.bundle.manifest import Manifest, Variant, parse_manifest
from rille.bundle.sign import MAX_BYTES, SIGNATURE, check_signature
from rille.errors import BundleError, DigestError, ManifestError, nearest
from rille.site.slots import SLOTS, read_slots
from rille.site.whole import check_file, read_file

MANIFEST = "manifest.json"
_MAX_MANIFEST_BYTES = 1024 * 1024
# What `zipfile` raises on damaged archives, as 40,000 of them showed.
_UNSOUND = (
    zipfile.BadZipFile,
    OSError,
    EOFError,
    UnicodeDecodeError,
    struct.error,
    zlib.error,
    NotImplementedError,
    RuntimeError,
)
_SHIPPED = Path(__file__).resolve().parent.parent / "bundles"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle, held in memory.

    Attributes:
        manifest: what it says about itself.
        digest: SHA-256 of `manifest.json`, which names the digest of every other file: it
            identifies the bundle.
        where: the folder or zip it came from.
        files: name -> verified bytes.
        text: the bytes of `manifest.json`.
        signature: those of `manifest.sig`, unchecked unless keys were asked for; None without.
        trusted: the public keys, one of which signed it; empty where none was asked for.
    """

    manifest: Manifest
    digest: str
    where: str
    files: Mapping[str, bytes] = field(repr=False)
    text: bytes = field(default=b"", repr=False)
    signature: bytes | None = field(default=None, repr=False)
    trusted: tuple[str, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.manifest.name

    def verify(self, name: str) -> None:
        """Check the bytes of one file once more.

        Raises:
            DigestError: they changed in memory.
        """
        if hashlib.sha256(self.files[name]).hexdigest() != self.manifest.files[name].sha256:
            raise DigestError(f"{self.where}: {name} changed in memory; load the bundle again")

    def variant(self, name: str | None = None, target: str | None = None) -> tuple[str, Variant]:
        """Return a variant by name, or the preferred one: TFLite before ONNX, int8 before others.

        Args:
            name: which; None for the preferred one.
            target: prefer among those of this file format alone; None for any.

        Raises:
            BundleError: no such variant.
        """
        variants = self.manifest.variants
        if name is None:
            if target is not None:
                variants = {k: v for k, v in variants.items() if v.target == target}
            if not variants:
                raise BundleError(
                    f"{self.where}: holds no {target} network (here: "
                    f"{', '.join(self.manifest.variants)}); make one with: rille export --target"
                )
            name = min(
                variants,
                key=lambda key: (
                    variants[key].target != "tflite",
                    variants[key].precision != "int8",
                    key,
                ),
            )
        if name not in variants:
            raise BundleError(
                f"{self.where}: no variant {name!r}{nearest(name, list(variants))} "
                f"(here: {', '.join(variants)})"
            )
        return name, variants[name]


def shipped_bundles() -> list[str]:
    """Return the names of the bundles that come with rille."""
    if not _SHIPPED.is_dir():
        return []
    return sorted(p.name for p in _SHIPPED.iterdir() if (p / MANIFEST).is_file())


def is_shipped(bundle: Bundle) -> bool:
    """Return whether a bundle is one of those that come with rille, where they came."""
    return Path(bundle.where).parent == _SHIPPED


def load_bundle(reference: str | Path, trusted: Sequence[str] = ()) -> Bundle:
    """Open a bundle and verify all of it.

    Args:
        reference: the name of a shipped bundle ("moon-craters"), or the path of a folder, of an
            uncompressed zip, or of a folder into which bundles are installed.
        trusted: public keys in hexadecimal digits; with any, the bundle must be signed by one of
            them, also one that comes with rille: those are unsigned.

    Raises:
        SignatureError: no trusted key signed it.
        BundleError: there is no such bundle.
        ManifestError: its manifest is missing, malformed or contradicts itself.
        DigestError: a file is missing, has another size or another digest.
    """
    path = Path(reference)
    if not _exists(path) and str(reference) in shipped_bundles():
        path = _SHIPPED / str(reference)
    if not _exists(path):
        known = shipped_bundles()
        raise BundleError(
            f"{reference}: no such bundle{nearest(str(reference), known)} "
            f"(a folder, a .zip, or one that comes with rille: {', '.join(known) or 'none'})"
        )
    if (path / SLOTS).is_file():
        return load_slot(path, read_slots(path).current, trusted)
    if path.is_dir():
        return _verified(str(path), lambda name, limit: read_file(path / name, limit), trusted)
    try:
        with zipfile.ZipFile(path) as archive:
            return _verified(
                str(path), lambda name, limit: _read_member(archive, name, limit), trusted
            )
    except _UNSOUND as wrong:
        reason = str(wrong) or "it ends too early"
        raise BundleError(f"{path}: neither a bundle folder nor a sound zip ({reason})") from None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # no name that a file could have
        return False


def load_slot(site: Path, slot: str, trusted: Sequence[str] = ()) -> Bundle:
    """Open what lies in a slot of a folder into which bundles are installed.

    Args:
        site: the folder.
        slot: which.
        trusted: as for `load_bundle`.

    Raises:
        DigestError: it is not what was installed there.
        BundleError: as for `load_bundle`.
    """
    bundle = load_bundle(site / slot, trusted)
    if bundle.digest != read_slots(site).slots[slot].digest:
        raise DigestError(
            f"{bundle.where}: is not the bundle that was installed (its digest differs); install "
            "it again, or go back: rille bundle rollback"
        )
    return bundle


def _verified(
    where: str, read: Callable[[str, int], bytes | None], trusted: Sequence[str]
) -> Bundle:
    text = read(MANIFEST, _MAX_MANIFEST_BYTES)
    if text is None:
        raise ManifestError(f"{where}: holds no {MANIFEST}, so it is not a bundle")
    if len(text) > _MAX_MANIFEST_BYTES:
        raise ManifestError(f"{where}: {MANIFEST} is longer than {_MAX_MANIFEST_BYTES} bytes")
    signature = read(SIGNATURE, MAX_BYTES)
    if trusted:  # before anything in the manifest is believed
        check_signature(text, signature, trusted, where)
    manifest = parse_manifest(text, f"{where}: {MANIFEST}")
    files: dict[str, bytes] = {}
    for name, entry in manifest.files.items():
        data = read(name, entry.bytes)
        files[name] = check_file(where, name, data, entry.bytes, entry.sha256)
    digest = hashlib.sha256(text).hexdigest()
    return Bundle(manifest, digest, where, files, text, signature, tuple(trusted))


def _read_member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes | None:
    """Read one member by its exact name; members the manifest does not name are never read."""
    matches = [info for info in archive.infolist() if info.filename == name]
    if not matches:
        return None
    if len(matches) > 1:
        raise BundleError(f"{archive.filename}: two members are called {name}")
    if matches[0].compress_type != zipfile.ZIP_STORED:
        raise BundleError(f"{archive.filename}: {name} is compressed; bundles are stored plain")
    with archive.open(matches[0]) as member:
        return member.read(limit + 1)
