"""Boxes in YOLO format with a `data.yaml`, as LU3M6TGT and the lunar crater tiles have them.

    data.yaml                       train: train/images, val: valid/images, names: [crater]
    <split>/images/<stem>.jpg
    <split>/labels/<stem>.txt       <class> <x centre> <y centre> <width> <height>, fractions

Images are paired with labels by stem, never by sorted position. An image without boxes (empty or
missing label file) is kept: it is the only evidence of precision on empty ground. The group is the
name without Roboflow's `.rf.<hash>`: augmented copies of one image share it.
"""

from __future__ import annotations

import re
from pathlib import Path

from rille.datasets.base import BoxSample, Label, Sample, original_name
from rille.errors import DatasetError, nearest
from rille.images import list_images


class YoloDataset:
    """A data set of upright boxes; see the module's description for the layout.

    Splits go by the keys of `data.yaml` (`train`, `val`, `test`) and by their folder's name
    (`valid`); a folder with `images` inside that `data.yaml` does not list counts as well.

    Raises:
        DatasetError: `data.yaml` cannot be understood.
    """

    INDEX = "data.yaml"
    name = "yolo-boxes"
    task = "segmentation"

    @classmethod
    def found(cls, root: Path) -> bool:
        """Return whether a folder has this layout."""
        return (root / cls.INDEX).is_file()

    def __init__(self, root: Path) -> None:
        self.root = root
        text = _read(root / self.INDEX)
        self._folders = self._find_splits(text)
        self.labels = tuple(Label(i, name) for i, name in enumerate(_names(root, text)))

    def _find_splits(self, text: str) -> dict[str, Path]:
        folders: dict[str, Path] = {}
        for key in ("train", "val", "test"):
            found = re.search(rf"^{key}:[ \t]*['\"]?([^'\"\n#]+?)['\"]?[ \t]*(?:#.*)?$", text, re.M)
            if not found:
                continue
            # Published files are often written for a folder one level up: "../train/images".
            parts = [p for p in Path(found[1]).parts if p not in ("..", ".", "/")]
            images = self.root.joinpath(*parts)
            if images.is_dir():
                folders[key] = images
                folders.setdefault(images.parent.name, images)
        for images in sorted(self.root.glob("*/images")):
            folders.setdefault(images.parent.name, images)
        return folders

    def splits(self) -> list[str]:
        """Return the names under which a split can be asked for."""
        return sorted(self._folders)

    def samples(self, split: str) -> list[BoxSample]:
        """Return the images of a split, sorted by name, with their boxes.

        Raises:
            DatasetError: no such split, or a label line that cannot be understood.
        """
        folder = self._folders.get(split)
        if folder is None:
            known = self.splits()
            raise DatasetError(
                f"{self.root}: no split {split!r}{nearest(split, known)} (here: {', '.join(known)})"
            )
        labels = folder.parent / "labels"
        return [
            BoxSample(path, self._boxes(labels / f"{path.stem}.txt"), group=original_name(path))
            for path in list_images(folder)
        ]

    def keys(self, sample: Sample) -> dict[str, str]:
        """Return original: the group, an image before augmentation."""
        return {"original": sample.group}

    def _boxes(self, path: Path) -> tuple[tuple[int, float, float, float, float], ...]:
        if not path.is_file():
            return ()
        boxes = []
        for number, line in enumerate(_read(path).splitlines(), 1):
            if not line.strip():
                continue
            parts = line.split()
            try:
                label, x, y, w, h = int(parts[0]), *map(float, parts[1:])
            except ValueError:
                label, x, y, w, h = -1, 0.0, 0.0, 0.0, 0.0
            if not (0 <= label < len(self.labels) and 0 <= x <= 1 and 0 <= y <= 1):
                raise DatasetError(f"{path}:{number}: expected 'class x y w h', found {line!r}")
            if not (0 < w <= 1 and 0 < h <= 1):
                raise DatasetError(f"{path}:{number}: width and height must be in (0, 1]: {line!r}")
            boxes.append((label, x, y, w, h))
        return tuple(dict.fromkeys(boxes))


def _names(root: Path, text: str) -> list[str]:
    """Read `names:` in its three published forms: [a, b]; a list of "- a"; a map of "0: a"."""
    flow = re.search(r"^names:[ \t]*\[([^\]]*)\]", text, re.M)
    if flow:
        names = [n.strip().strip("'\"") for n in flow[1].split(",") if n.strip()]
    else:
        block = re.search(r"^names:[ \t]*\n((?:[ \t]*(?:-|\d+[ \t]*:)[^\n]*\n?)+)", text, re.M)
        lines = block[1].splitlines() if block else []
        names = [re.sub(r"^[ \t]*(?:-|\d+[ \t]*:)[ \t]*", "", line).strip("'\" ") for line in lines]
    if not names:
        raise DatasetError(f"{root / 'data.yaml'}: no class names found under 'names:'")
    return names


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read ({error})") from None
