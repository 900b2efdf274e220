"""What must hold of a data set before a score on it means anything.

The first reference project's classes were the names of the folders that held the same scenes drawn
three ways, and its test set was its validation set; the fourth split bursts of near-identical
pictures at random. Neither showed in a score.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rille.datasets import Dataset, ImageSample, Sample
from rille.errors import DatasetError

_KEPT_AS = "clean ground render images image photos masks labels raw data calibrated augmented"
_SPLITS = "train val valid validation test"
STORAGE = frozenset((*_KEPT_AS.split(), *_SPLITS.split()))
"""Names of folders that say how files are kept, not what they show."""


def check_labels(dataset: Dataset, samples: Sequence[Sample]) -> None:
    """Refuse labels that are the names of the folders the files are kept in.

    A class may bear such a name ("ground" is one of MSL v1); what is refused is a picture whose
    class is the storage folder that it lies in.

    Raises:
        DatasetError: there are such labels.
    """
    names = {label.id: label.name for label in dataset.labels}
    for sample in samples:
        if not isinstance(sample, ImageSample):
            continue
        name = names.get(sample.label_id, "").lower()
        folders = {part.lower() for part in sample.path.relative_to(dataset.root).parts[:-1]}
        if name in STORAGE & folders:
            raise DatasetError(
                f"{sample.path}: its class {name!r} is the folder it is kept in, which says how "
                "files are stored and not what they show; label what is in the picture"
            )


def shared(train: Sequence[Sample], held: Sequence[Sample]) -> dict[str, int]:
    """Return what two splits have in common.

    Returns:
        "groups": groups with images on both sides; "images_in_them": images held out that are in
        such a group; "identical_files": files held out that are byte for byte in the other split.
    """
    groups = {sample.group for sample in train}
    common = {sample.group for sample in held} & groups
    return {
        "groups": len(common),
        "images_in_them": sum(sample.group in common for sample in held),
        "identical_files": _identical([s.path for s in train], [s.path for s in held]),
    }


def shared_words(found: dict[str, int]) -> str:
    """Return a warning in words; empty where two splits share nothing."""
    parts = []
    if found["groups"]:
        parts.append(
            f"{found['images_in_them']} held-out images are of {found['groups']} groups that are "
            "also trained on (--folds separates groups)"
        )
    if found["identical_files"]:
        parts.append(f"{found['identical_files']} held-out files are also trained on")
    return "; ".join(parts)


def _identical(train: Sequence[Path], held: Sequence[Path]) -> int:
    """Count files of equal content; only those of equal size are read."""
    sizes: dict[int, list[Path]] = defaultdict(list)
    for path in train:
        sizes[path.stat().st_size].append(path)
    digests: dict[Path, Any] = {}

    def digest(path: Path) -> Any:
        if path not in digests:
            digests[path] = hashlib.sha256(path.read_bytes()).digest()
        return digests[path]

    return sum(
        any(digest(path) == digest(other) for other in sizes.get(path.stat().st_size, []))
        for path in held
    )
