"""Polygons in YOLO format in one flat folder, as single-class segmentation sets are often shared.

    images/<stem>.jpg
    labels/<stem>.txt       <class> <x1> <y1> <x2> <y2> <x3> <y3> ..., fractions of the image
    classes.txt             optional: one class name a line

No split is published, so there is one, "all": make folds by group and write them down. Without
`classes.txt` the classes are named "class 0", "class 1", ... An image without a label file holds
nothing. The group is the name without Roboflow's `.rf.<hash>`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rille.datasets.base import Label, Sample, original_name
from rille.datasets.coco import Shape
from rille.errors import DatasetError, SourceError
from rille.images import list_images, read_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

LAST_CLASS = 253
"""Masks hold one more than a class id in 8 bits, and the highest value stands for ignored."""


@dataclass(frozen=True, slots=True)
class FractionSample:
    """An image with polygons in fractions of it; see `rille.datasets.base.MaskSample`.

    Attributes:
        path: the image file.
        group: images of one group are not independent.
        polygons: class id and x, y in turn, each from 0 to 1; later ones are drawn over earlier.
    """

    path: Path
    group: str
    polygons: tuple[tuple[int, tuple[float, ...]], ...] = field(repr=False)

    @property
    def label(self) -> str:
        """The polygons, as text."""
        return str(self.polygons)

    def mask(self) -> NDArray[np.uint8]:
        """Return the class mask; see `rille.datasets.base.MaskSample.mask`."""
        try:
            width, height = read_size(self.path)
        except SourceError as wrong:
            raise DatasetError(str(wrong)) from None
        canvas = np.zeros((height, width), np.uint8)
        for k, flat in self.polygons:
            pixels = [v * (height if i % 2 else width) for i, v in enumerate(flat)]
            Shape(f"class {k}", [pixels]).draw(canvas, k + 1, str(self.path))
        return canvas


class PolygonFolder:
    """A flat folder of images and polygons; see the module's description.

    Raises:
        DatasetError: a label line that cannot be understood, or labels without an image.
    """

    SPLIT = "all"
    name = "yolo-polygons"
    task = "segmentation"

    @classmethod
    def found(cls, root: Path) -> bool:
        """Return whether a folder has this layout."""
        folders = (root / "images").is_dir() and (root / "labels").is_dir()
        return folders and any((root / "labels").glob("*.txt"))

    def __init__(self, root: Path) -> None:
        self.root = root
        images = {path.stem for path in list_images(root / "images")}
        self._polygons: dict[str, tuple[tuple[int, tuple[float, ...]], ...]] = {}
        for path in sorted((root / "labels").glob("*.txt")):
            if path.stem not in images:
                raise DatasetError(f"{path}: no image {path.stem} in {root / 'images'}")
            self._polygons[path.stem] = _polygons(path)
        self.labels = self._read_labels(root / "classes.txt")

    def _read_labels(self, path: Path) -> tuple[Label, ...]:
        used = max((k for found in self._polygons.values() for k, _ in found), default=0)
        if not path.is_file():
            return tuple(Label(k, f"class {k}") for k in range(used + 1))
        names = [line.strip() for line in _text(path).splitlines() if line.strip()]
        if used >= len(names):
            raise DatasetError(f"{path}: names {len(names)} classes, but the labels use id {used}")
        return tuple(Label(k, name) for k, name in enumerate(names))

    def splits(self) -> list[str]:
        """Return the one split: "all"."""
        return [self.SPLIT]

    def samples(self, split: str) -> list[FractionSample]:
        """Return the images, sorted by name, with their polygons.

        Raises:
            DatasetError: another split than "all".
        """
        if split != self.SPLIT:
            raise DatasetError(f"{self.root}: no split {split!r} (here: {self.SPLIT})")
        return [
            FractionSample(path, original_name(path), self._polygons.get(path.stem, ()))
            for path in list_images(self.root / "images")
        ]

    def keys(self, sample: Sample) -> dict[str, str]:
        """Return original: the group, an image before augmentation."""
        return {"original": sample.group}


def _polygons(path: Path) -> tuple[tuple[int, tuple[float, ...]], ...]:
    """Read a label file: class id and x, y in turn for each polygon."""
    found = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            continue
        label, *rest = line.split()
        try:
            values = [float(v) for v in rest]
        except ValueError:
            values = []
        known = label.isdecimal() and len(label) <= 3 and int(label) <= LAST_CLASS
        if not known or len(values) < 6 or len(values) % 2:
            hint = "; boxes need a data.yaml beside images/" if len(values) == 4 else ""
            shown = line if len(line) < 60 else f"{line[:57]}..."
            raise DatasetError(
                f"{path}:{number}: expected 'class x1 y1 x2 y2 x3 y3 ...', found {shown!r}{hint}"
            )
        if not all(0 <= v <= 1 for v in values):
            raise DatasetError(f"{path}:{number}: a coordinate is not a fraction from 0 to 1")
        found.append((int(label), tuple(values)))
    return tuple(found)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read ({error})") from None
