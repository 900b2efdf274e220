"""Refusing labels that only say where a file is stored.

Taking the folders of a rendered set (`render`, `ground`, `clean`) for classes teaches a network to
tell pictures from masks; it scores well and knows nothing about the ground.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rille.errors import DatasetError
from rille.images import SUFFIXES

if TYPE_CHECKING:
    from rille.datasets.base import Label

STORAGE_NAMES = frozenset(
    (
        *("all", "annotations", "calibrated", "clean", "data", "dataset", "ground", "image"),
        *("images", "img", "imgs", "input", "jpg", "label", "labels", "mask", "masks", "output"),
        *("png", "processed", "raw", "real", "real_moon_images", "render", "rendered", "renders"),
        *("synthetic", "test", "testing", "train", "training", "val", "valid", "validation"),
    )
)
"""Names of folders that sort files by kind or by use."""


def refuse_folder_labels(labels: Sequence[Label], where: str = "labels") -> None:
    """Refuse a list of classes in which every name is that of a storage folder.

    One such name among others stands: "ground" is a class of MSL v1.

    Args:
        labels: the classes of a data set.
        where: what to call it in the error.

    Raises:
        DatasetError: every name is a storage folder's.
    """
    names = [label.name for label in labels]
    if names and all(name.strip().lower() in STORAGE_NAMES for name in names):
        raise DatasetError(
            f"{where}: the only labels are names of storage folders ({', '.join(names)}): they say "
            "where a file is kept, not what it shows; name a folder whose own files state labels "
            "(for ALRL: the one that holds images/ and bounding_boxes.csv)"
        )


def class_folders(root: Path) -> list[str]:
    """Return the names of the folders in `root` that hold images, or of those one level deeper."""
    top = _folders(root)
    holding = [folder.name for folder in top if _holds_images(folder)]
    if holding:
        return holding
    deeper = {inner.name for folder in top for inner in _folders(folder) if _holds_images(inner)}
    return sorted(deeper)


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


def _holds_images(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in folder.iterdir())
