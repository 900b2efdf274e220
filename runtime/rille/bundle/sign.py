"""Signatures of bundles: who made it, beside what is in it.

The manifest names the SHA-256 of every other file, so a signature of its bytes covers the bundle.
`manifest.sig` is a JSON object with the public key and an Ed25519 signature (RFC 8032), both in
hexadecimal digits. A key in the file proves nothing by itself: whoever asks for a signature says
whose.
"""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rille.errors import BundleError, ConfigError, SignatureError

SIGNATURE = "manifest.sig"
MAX_BYTES = 4096
_CONTEXT = b"rille bundle manifest 1\n"
"""Signed before the manifest, so that a signature made for something else is none for a bundle."""


def make_key(path: Path) -> str:
    """Write a new private key and, beside it, the public key with the suffix `.pub`.

    Args:
        path: where; readable by its owner alone.

    Returns:
        The public key in hexadecimal digits.

    Raises:
        ConfigError: there is a file already, or it cannot be written.
    """
    primitives = _ed25519()
    private = primitives.Ed25519PrivateKey.generate()
    public: str = private.public_key().public_bytes_raw().hex()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(private.private_bytes_raw().hex() + "\n")
        path.with_name(f"{path.name}.pub").write_text(f"{public}\n", encoding="ascii")
    except FileExistsError:
        raise ConfigError(f"{path}: exists already; a key is never overwritten") from None
    except OSError as wrong:
        raise ConfigError(f"{path}: cannot be written ({wrong.strerror})") from None
    return public


def signed(manifest: bytes, key: Path) -> bytes:
    """Return the content of `manifest.sig`.

    Args:
        manifest: the bytes of `manifest.json`.
        key: file of a private key, as `make_key` writes it.

    Raises:
        ConfigError: no such key, or not one.
    """
    private = _ed25519().Ed25519PrivateKey.from_private_bytes(_read_key(key))
    record = {
        "key": private.public_key().public_bytes_raw().hex(),
        "signature": private.sign(_CONTEXT + manifest).hex(),
    }
    return json.dumps(record, indent=1).encode() + b"\n"


def check_signature(
    manifest: bytes, signature: bytes | None, trusted: Sequence[str] | None, where: str
) -> str:
    """Refuse a manifest that none of the trusted keys signed.

    Args:
        manifest: the bytes of `manifest.json`.
        signature: those of `manifest.sig`, or None.
        trusted: public keys in hexadecimal digits; None to accept whoever signed it.
        where: what to call the bundle in an error.

    Returns:
        The key that signed it.

    Raises:
        SignatureError: it is unsigned, signed by somebody else, or changed since.
    """
    if signature is None:
        raise SignatureError(
            f"{where}: not signed, and only signed bundles are accepted here; sign it with: rille "
            "bundle sign"
        )
    key, seal = _parsed(signature, where)
    if trusted is not None and key not in trusted:
        raise SignatureError(f"{where}: signed with key {key[:16]}..., which is not trusted here")
    primitives = _ed25519()
    public = primitives.Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
    try:
        public.verify(seal, _CONTEXT + manifest)
    except Exception:  # InvalidSignature, which lives in the library
        raise SignatureError(
            f"{where}: the signature does not fit the manifest: changed since it was signed"
        ) from None
    return key


def read_public_key(text: str) -> str:
    """Return a public key given as hexadecimal digits or as the path of a file with them.

    Raises:
        ConfigError: it is neither.
    """
    if re.fullmatch(r"[0-9a-f]{64}", text):
        return text
    return _read_key(Path(text)).hex()


def _read_key(path: Path) -> bytes:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as wrong:
        raise ConfigError(f"{path}: not a key that can be read ({wrong})") from None
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ConfigError(f"{path}: not a key (64 hexadecimal digits); make one: rille bundle key")
    return bytes.fromhex(text)


def _parsed(signature: bytes, where: str) -> tuple[str, bytes]:
    try:
        if len(signature) > MAX_BYTES:
            raise ValueError(f"longer than {MAX_BYTES} bytes")
        record = json.loads(signature)
        key, seal = record["key"], bytes.fromhex(record["signature"])
        if len(seal) != 64 or not re.fullmatch(r"[0-9a-f]{64}", key):
            raise ValueError("of another length")
    except (ValueError, KeyError, TypeError, RecursionError) as wrong:
        raise SignatureError(f"{where}: {SIGNATURE} is not a signature ({wrong})") from None
    return key, seal


def _ed25519() -> Any:
    try:
        return importlib.import_module("cryptography.hazmat.primitives.asymmetric.ed25519")
    except ImportError:
        raise BundleError(
            'signatures need the package cryptography: pip install "rille[signing]"'
        ) from None
