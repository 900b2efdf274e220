"""MSL v1: labelled Curiosity images, 24 classes (DOI 10.5281/zenodo.1049137), in two layouts.

As published on Zenodo:

    msl_synset_words-indexed.txt        <id> <name with spaces>
    {train,val,test}-calibrated-shuffled.txt   calibrated/<file>.JPG <id>
    calibrated/*.JPG

As mirrored on Kaggle (brsdincer/mars-surface-and-curiosity-image-set-nasa):

    Labels Information.txt              <id> <name with spaces>
    {Train,Validation,Test}_CSV.csv     columns JPG,LABELS; JPG still says calibrated/<file>.JPG
    images/*.JPG

Ids run from 0 to 24; id 22 ("sun") has no image. A name starts with sol (4 digits), camera (2
letters) and sequence (6 digits). Images that share these are near-duplicates: that is the group.
Folds of one's own are better made by sol (`sol_of`), as the published splits are.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Protocol

from rille.datasets.base import ImageSample, Label, Sample
from rille.errors import DatasetError, nearest

Entry = tuple[int, str, str]
"""Line number, file and label of one image, as a list states them."""


def sol_of(path: Path) -> int:
    """Return the sol (Martian day since landing) on which an image was taken, from its name.

    Raises:
        DatasetError: the name does not start with four digits and a camera.
    """
    found = re.match(r"(\d{4})[A-Z]{2}", path.name)
    if not found:
        raise DatasetError(
            f"{path}: the name does not start with a sol and a camera, as in 0180MH…"
        )
    return int(found[1])


class _Layout(Protocol):
    """Where a layout keeps classes, lists and images."""

    synset: str
    folder: str
    expected: str

    def lists(self, root: Path) -> dict[str, Path]:
        """Return the list of each split."""
        ...

    def entries(self, path: Path) -> list[Entry]:
        """Return what a list states."""
        ...


class _Zenodo:
    synset = "msl_synset_words-indexed.txt"
    folder = "calibrated"
    expected = "'<file> <class id>'"
    _SUFFIX = "-calibrated-shuffled.txt"

    def lists(self, root: Path) -> dict[str, Path]:
        return {p.name.removesuffix(self._SUFFIX): p for p in root.glob(f"*{self._SUFFIX}")}

    def entries(self, path: Path) -> list[Entry]:
        parts = [(number, line.rpartition(" ")) for number, line in _lines(path)]
        return [(number, name, label) for number, (name, _, label) in parts]


class _Kaggle:
    synset = "Labels Information.txt"
    folder = "images"
    expected = "'<file>,<class id>'"
    _LISTS = ("Train_CSV.csv", "train"), ("Validation_CSV.csv", "val"), ("Test_CSV.csv", "test")
    _COLUMNS = ("JPG", "LABELS")

    def lists(self, root: Path) -> dict[str, Path]:
        return {split: root / name for name, split in self._LISTS if (root / name).is_file()}

    def entries(self, path: Path) -> list[Entry]:
        reader = csv.DictReader(_read(path).splitlines())
        missing = [name for name in self._COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise DatasetError(
                f"{path}:1: no column {missing[0]!r}; expected the columns JPG,LABELS"
            )
        try:
            return [(reader.line_num, row["JPG"] or "", row["LABELS"] or "") for row in reader]
        except csv.Error as wrong:
            raise DatasetError(f"{path}:{reader.line_num}: not a table ({wrong})") from None


_LAYOUTS: tuple[_Layout, ...] = (_Zenodo(), _Kaggle())


class MslDataset:
    """The MSL v1 data set; see the module's description for the layouts.

    Raises:
        DatasetError: the list of classes is missing or cannot be understood.
    """

    SYNSET = _Zenodo.synset
    MIRROR = _Kaggle.synset
    name = "msl-v1"
    task = "classification"

    @classmethod
    def found(cls, root: Path) -> bool:
        """Return whether a folder has one of the layouts."""
        return any((root / layout.synset).is_file() for layout in _LAYOUTS)

    def __init__(self, root: Path) -> None:
        self.root = root
        here = [layout for layout in _LAYOUTS if (root / layout.synset).is_file()]
        if not here:
            raise DatasetError(f"{root}: neither {self.SYNSET} nor {self.MIRROR} is here")
        self._layout = here[0]
        self.labels = tuple(self._read_labels(root / self._layout.synset))
        self._ids = {label.id for label in self.labels}

    @staticmethod
    def _read_labels(path: Path) -> list[Label]:
        labels = []
        for number, line in _lines(path):
            parts = line.split(maxsplit=1)
            if len(parts) != 2 or not _is_id(parts[0]):
                raise DatasetError(f"{path}:{number}: expected '<id> <name>', found {line!r}")
            labels.append(Label(int(parts[0]), parts[1].strip()))
        return sorted(labels, key=lambda label: label.id)

    def splits(self) -> list[str]:
        """Return the splits whose list is here: usually train, val and test."""
        return sorted(self._layout.lists(self.root))

    def samples(self, split: str) -> list[ImageSample]:
        """Return the images of a split in the order of its list.

        Raises:
            DatasetError: no such split, a line that cannot be understood, an unknown class id,
                or an image that is listed but missing.
        """
        path = self._layout.lists(self.root).get(split)
        if path is None:
            known = self.splits()
            raise DatasetError(
                f"{self.root}: no split {split!r}{nearest(split, known)} (here: {', '.join(known)})"
            )
        samples = [self._sample(path, *entry) for entry in self._layout.entries(path)]
        if not samples:
            raise DatasetError(f"{path}: lists no image")
        return samples

    def _sample(self, path: Path, number: int, name: str, label: str) -> ImageSample:
        file = name.removeprefix("calibrated/")
        known = _is_id(label) and int(label) in self._ids
        if not file or not known or Path(file).name != file:
            found = f"file {name!r}, class id {label!r}"
            raise DatasetError(f"{path}:{number}: expected {self._layout.expected}, found {found}")
        folder = self.root / self._layout.folder
        if not (folder / file).is_file():
            raise DatasetError(f"{path}:{number}: {name} is listed but not in {folder}")
        return ImageSample(folder / file, int(label), group=file[:12])

    def keys(self, sample: Sample) -> dict[str, str]:
        """Return burst (the group), original (the camera product, in any version) and sol."""
        product = re.match(r"\d{4}[A-Z]{2}\d+", sample.path.name)
        if not product:
            return {"burst": sample.group, "original": sample.path.stem}
        sol = str(sol_of(sample.path))
        return {"burst": sample.group, "original": product[0], "sol": sol}


def _is_id(text: str) -> bool:
    return text.isdecimal() and len(text) < 9


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines that are not blank, with their numbers."""
    lines = enumerate(_read(path).splitlines(), 1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read ({error})") from None
