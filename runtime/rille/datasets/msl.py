"""MSL v1: labelled Curiosity images, 24 classes (DOI 10.5281/zenodo.1049137), Zenodo layout.

    msl_synset_words-indexed.txt        <id> <name with spaces>
    {train,val,test}-calibrated-shuffled.txt   calibrated/<file>.JPG <id>
    calibrated/*.JPG

Ids run from 0 to 24; id 22 ("sun") has no image. Images of one sol, camera and sequence are
near-duplicates: that is the group.
"""

from __future__ import annotations

from pathlib import Path

from rille.datasets.base import ImageSample, Label
from rille.errors import DatasetError, nearest


class MslDataset:
    """The MSL v1 data set; see the module's description for the layout.

    Raises:
        DatasetError: the list of classes is missing or cannot be understood.
    """

    SYNSET = "msl_synset_words-indexed.txt"
    _SPLIT = "-calibrated-shuffled.txt"
    name = "msl-v1"
    task = "classification"

    @classmethod
    def found(cls, root: Path) -> bool:
        """Return whether a folder has this layout."""
        return (root / cls.SYNSET).is_file()

    def __init__(self, root: Path) -> None:
        self.root = root
        self.labels = tuple(self._read_labels(root / self.SYNSET))
        self._ids = {label.id for label in self.labels}

    @staticmethod
    def _read_labels(path: Path) -> list[Label]:
        labels = []
        for number, line in enumerate(_lines(path), 1):
            parts = line.split(maxsplit=1)
            if len(parts) != 2 or not parts[0].isdigit():
                raise DatasetError(f"{path}:{number}: expected '<id> <name>', found {line!r}")
            labels.append(Label(int(parts[0]), parts[1].strip()))
        return sorted(labels, key=lambda label: label.id)

    def splits(self) -> list[str]:
        """Return the splits whose list is here: usually train, val and test."""
        return sorted(p.name.removesuffix(self._SPLIT) for p in self.root.glob(f"*{self._SPLIT}"))

    def samples(self, split: str) -> list[ImageSample]:
        """Return the images of a split in the order of its list.

        Raises:
            DatasetError: no such split, a line that cannot be understood, an unknown class id,
                or an image that is listed but missing.
        """
        path = self.root / f"{split}{self._SPLIT}"
        if not path.is_file():
            known = self.splits()
            raise DatasetError(
                f"{self.root}: no split {split!r}{nearest(split, known)} (here: {', '.join(known)})"
            )
        samples = []
        for number, line in enumerate(_lines(path), 1):
            name, _, label = line.rpartition(" ")
            if not name or not label.isdigit() or int(label) not in self._ids:
                raise DatasetError(f"{path}:{number}: expected '<file> <class id>', found {line!r}")
            image = self.root / name
            if not image.is_file():
                raise DatasetError(f"{path}:{number}: {name} is listed but not in {self.root}")
            samples.append(ImageSample(image, int(label), group=image.name[:12]))
        if not samples:
            raise DatasetError(f"{path}: lists no image")
        return samples


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read ({error})") from None
    return [line.strip() for line in text.splitlines() if line.strip()]
