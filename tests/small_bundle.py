"""Bundles of a few kilobytes, of which thousands can be written and read in a test."""

from __future__ import annotations

import random
from dataclasses import replace

from rille.bundle import Bundle, file_entries
from rille.bundle.manifest import Manifest


def shrunk(
    bundle: Bundle, most: int, seed: int, version: str = ""
) -> tuple[Manifest, dict[str, bytes]]:
    """Return the manifest of a bundle with noise in the place of its files, and these.

    What says how familiar a picture is stays away: the length of its file is told by the manifest.

    Args:
        bundle: whose manifest, without metrics and provenance.
        most: bytes of a file.
        seed: of the noise.
        version: of the small one; empty for the bundle's own.
    """
    dice, known = random.Random(seed), bundle.manifest.familiarity
    files = {
        name: dice.randbytes(min(len(content), most))
        for name, content in bundle.files.items()
        if known is None or name != known.file
    }
    manifest = replace(
        bundle.manifest,
        version=version or bundle.manifest.version,
        files=file_entries(files),
        familiarity=None,
        metrics={},
        provenance={},
    )
    return manifest, files
