"""Bundles: one verified folder (or zip of it) with a network and everything needed to use it."""

from rille.bundle.install import install, roll_back
from rille.bundle.load import Bundle, load_bundle, shipped_bundles
from rille.bundle.manifest import Manifest, Variant
from rille.bundle.sign import check_signature, make_key, read_public_key
from rille.bundle.write import file_entries, pack, sign, write_bundle
from rille.site.slots import SlotTable, read_slots

__all__ = [
    "Bundle",
    "Manifest",
    "SlotTable",
    "Variant",
    "check_signature",
    "file_entries",
    "install",
    "load_bundle",
    "make_key",
    "pack",
    "read_public_key",
    "read_slots",
    "roll_back",
    "shipped_bundles",
    "sign",
    "write_bundle",
]
