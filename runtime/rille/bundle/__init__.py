"""Bundles: one verified folder (or zip of it) with a network and everything needed to use it."""

from rille.bundle.load import Bundle, load_bundle, shipped_bundles
from rille.bundle.manifest import Manifest, Variant
from rille.bundle.write import file_entries, write_bundle

__all__ = [
    "Bundle",
    "Manifest",
    "Variant",
    "file_entries",
    "load_bundle",
    "shipped_bundles",
    "write_bundle",
]
