"""Scenes a rover's camera saw, with a class for each pixel and independent yes/no labels.

Two layouts. Chang'E-3/-4 images with COCO polygons:

    <split>/_annotations.coco.json      polygons of artifacts, boulders, craters, ...
    <split>/*.jpg

and what `rille sim render` writes:

    scenario.json  {train,val}.json  images/  masks/

Either serves segmentation (class masks) and multilabel (artifact, tracks, stones, crater).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np

from rille.datasets.base import (
    IGNORED,
    Label,
    MaskSample,
    MultiLabelSample,
    Sample,
    original_name,
)
from rille.datasets.coco import CocoImage, Shape, read_coco
from rille.errors import DatasetError, nearest
from rille.frame import CLASSES

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCENE_LABELS = ("artifact", "tracks", "stones", "crater")
"""Independent labels of a scene: hardware in sight, wheel tracks, stones, a crater."""
TASKS = ("segmentation", "multilabel")
Taken = tuple[str, datetime]
"""Camera and time of a picture."""


@dataclass(frozen=True, slots=True)
class PolygonSample:
    """An image with polygons; see `rille.datasets.base.MaskSample`.

    Attributes:
        path: the image file.
        group: images of one group are not independent.
        size_px: (width, height) that the annotations are for.
        shapes: what is drawn, with the mask's value for each: later ones over earlier ones.
    """

    path: Path
    group: str
    size_px: tuple[int, int]
    shapes: tuple[tuple[int, Shape], ...] = field(repr=False)

    @property
    def label(self) -> str:
        """The shapes, as text."""
        return str([(value, shape.segmentation) for value, shape in self.shapes])

    def mask(self) -> NDArray[np.uint8]:
        """Return the class mask; see `rille.datasets.base.MaskSample.mask`."""
        canvas = np.zeros(self.size_px[::-1], np.uint8)
        for value, shape in self.shapes:
            shape.draw(canvas, value, str(self.path))
        return canvas


class _Scenes(ABC):
    """What both layouts share."""

    name: str
    root: Path
    task: str
    labels: tuple[Label, ...]
    classes: ClassVar[tuple[str, ...]]

    def __init__(self, root: Path, task: str = "segmentation") -> None:
        if task not in TASKS:
            raise DatasetError(f"{root}: serves {' and '.join(TASKS)}, not {task}")
        self.root = root
        self.task = task
        names = self.classes if task == "segmentation" else SCENE_LABELS
        self.labels = tuple(Label(i, name) for i, name in enumerate(names, 1))

    @abstractmethod
    def splits(self) -> list[str]:
        """Return the names of the splits whose files are here."""

    def _index(self, split: str, path: Path) -> Path:
        if split not in self.splits():
            known = self.splits()
            raise DatasetError(
                f"{self.root}: no split {split!r}{nearest(split, known)} (here: {', '.join(known)})"
            )
        return path

    def _image(self, folder: Path, entry: CocoImage, index: Path) -> Path:
        # A name from a file must not lead out of its folder.
        path = folder / entry.file_name
        if ".." in Path(entry.file_name).parts or Path(entry.file_name).is_absolute():
            raise DatasetError(f"{index}: {entry.file_name!r} leads out of its folder")
        if not path.is_file():
            raise DatasetError(f"{index}: {entry.file_name} is listed but not in {folder}")
        return path


class ChangeScenes(_Scenes):
    """Chang'E-3/-4 surface scenes with COCO polygons; see the module's description.

    Rock and boulder are one class, stone: the labels use the two interchangeably. A rocky region is
    a loose hull around some, so its pixels are ignored. Stones: any rock, boulder or region;
    artifact: at least 1 % of the area; tracks and crater: any. One group is one session: a camera
    on one day, or one sequence of the terrain camera.

    "val" is another name of "valid". The published split is full of neighbours, so there is also
    "valid-apart": validation images with a time stamp for which train has none of the same camera
    within a minute.
    """

    INDEX = "_annotations.coco.json"
    name = "change-scenes"
    classes = ("stone", "crater", "artifact", "track")
    LEAST_ARTIFACT = 0.01
    _CLASS_OF: ClassVar[dict[str, str]] = {
        "crater": "crater",
        "rover path": "track",
        "rock": "stone",
        "boulder": "stone",
        "artifact": "artifact",
    }
    _REGION = "rocky region"
    _SESSION = re.compile(r"(C3_TCAM_\d+|PCAM[LR]-[A-Z]|chang4)(?:.*?_(20\d{6})\d{6})?")
    _TAKEN = re.compile(r"(PCAM[LR]|chang4).*?_(20\d{12})")
    CLOSE_S = 60
    APART = "valid-apart"

    @classmethod
    def found(cls, root: Path) -> bool:
        """Return whether a folder has this layout."""
        return any(root.glob(f"*/{cls.INDEX}"))

    def splits(self) -> list[str]:
        """Return the names of the splits whose files are here."""
        names = {path.parent.name for path in self.root.glob(f"*/{self.INDEX}")}
        return sorted(names | ({"val"} if "valid" in names else set()))

    def samples(self, split: str) -> list[MaskSample] | list[MultiLabelSample]:
        """Return the samples of a split in the order of its file.

        Raises:
            DatasetError: no such split, or a file that cannot be understood.
        """
        if split == self.APART and {"train", "valid"} <= set(self.splits()):
            return self._apart()
        here = "valid" if split == "val" and not (self.root / "val").is_dir() else split
        folder = self._index(split, self.root / here)
        index = folder / self.INDEX
        masks: list[MaskSample] = []
        labelled: list[MultiLabelSample] = []
        for entry in read_coco(index):
            unknown = {s.category for s in entry.shapes} - {*self._CLASS_OF, self._REGION}
            if unknown:
                raise DatasetError(f"{index}: category {min(unknown)!r} is not known")
            path = self._image(folder, entry, index)
            sample = PolygonSample(
                path, self._session(path.name), (entry.width, entry.height), self._drawn(entry)
            )
            if self.task == "segmentation":
                masks.append(sample)
            else:
                labelled.append(MultiLabelSample(path, self._holds(sample, entry), sample.group))
        return masks or labelled

    def _apart(self) -> list[Any]:
        train = [taken for s in self.samples("train") if (taken := self._taken(s.path.name))]
        return [
            sample
            for sample in self.samples("val")
            if (taken := self._taken(sample.path.name)) and not self._close(taken, train)
        ]

    def _close(self, taken: Taken, others: Sequence[Taken]) -> bool:
        camera, time = taken
        return any(
            c == camera and abs((t - time).total_seconds()) <= self.CLOSE_S for c, t in others
        )

    def keys(self, sample: Sample) -> dict[str, str]:
        """Return session (the group) and original (the name before augmentation)."""
        return {"session": sample.group, "original": original_name(sample.path)}

    def remarks(self, splits: Mapping[str, Sequence[Sample]]) -> list[str]:
        """Count validation images with a training image of the same camera close in time."""
        train = [taken for s in splits.get("train", ()) if (taken := self._taken(s.path.name))]
        val = [taken for s in splits.get("val", ()) if (taken := self._taken(s.path.name))]
        close = sum(self._close(taken, train) for taken in val)
        if not close:
            return []
        return [
            f"{close} of the {len(val)} time-stamped images of val have one of train from the same "
            f"camera within {self.CLOSE_S} s: scores on val are optimistic"
        ]

    def _taken(self, name: str) -> Taken | None:
        """Return camera and time, for the names that tell them."""
        found = self._TAKEN.match(name)
        try:
            return (found[1], datetime.strptime(found[2], "%Y%m%d%H%M%S")) if found else None
        except ValueError:
            return None

    def _session(self, name: str) -> str:
        found = self._SESSION.match(name)
        return " ".join(part for part in found.groups() if part) if found else name

    def _drawn(self, entry: CocoImage) -> tuple[tuple[int, Shape], ...]:
        """Order the shapes: what is certain is drawn over what is not."""
        drawn = [(IGNORED, s) for s in entry.shapes if s.category == self._REGION]
        for category, label in self._CLASS_OF.items():
            value = self.classes.index(label) + 1
            drawn += [(value, s) for s in entry.shapes if s.category == category]
        return tuple(drawn)

    def _holds(self, sample: PolygonSample, entry: CocoImage) -> tuple[bool, ...]:
        seen = {shape.category for shape in entry.shapes}
        artifact = False
        if "artifact" in seen:
            share = (sample.mask() == self.classes.index("artifact") + 1).mean()
            artifact = bool(share >= self.LEAST_ARTIFACT)
        return (
            artifact,
            "rover path" in seen,
            bool(seen & {"rock", "boulder", self._REGION}),
            "crater" in seen,
        )


@dataclass(frozen=True, slots=True)
class RenderedSample:
    """A simulated image with its PNG mask; see `rille.datasets.base.MaskSample`.

    Attributes:
        path: the image file.
        group: the scene.
        mask_path: the mask: indices of `rille.frame.CLASSES`.
    """

    path: Path
    group: str
    mask_path: Path

    @property
    def label(self) -> str:
        """The mask file's name and size, as text."""
        here = self.mask_path.is_file()
        return f"{self.mask_path.name} {self.mask_path.stat().st_size if here else 'missing'}"

    def mask(self) -> NDArray[np.uint8]:
        """Return the class mask; see `rille.datasets.base.MaskSample.mask`."""
        values = cv2.imread(str(self.mask_path), cv2.IMREAD_UNCHANGED)
        if values is None or values.ndim != 2 or values.max() >= len(CLASSES):
            raise DatasetError(f"{self.mask_path}: not a mask of {len(CLASSES)} classes")
        return cv2.LUT(values, _RENDERED)  # type: ignore[return-value]


class SimulatedScenes(_Scenes):
    """What `rille sim render` wrote; see the module's description. A group is a scene."""

    INDEX = "scenario.json"
    name = "simulated-scenes"
    classes = ("stone", "crater", "artifact", "track", "sky")

    @classmethod
    def found(cls, root: Path) -> bool:
        """Return whether a folder has this layout."""
        return (root / cls.INDEX).is_file()

    def splits(self) -> list[str]:
        """Return the names of the splits whose files are here."""
        return [name for name in ("train", "val") if (self.root / f"{name}.json").is_file()]

    def samples(self, split: str) -> list[MaskSample] | list[MultiLabelSample]:
        """Return the samples of a split in the order of its file.

        Raises:
            DatasetError: no such split, or a file that cannot be understood.
        """
        index = self._index(split, self.root / f"{split}.json")
        masks: list[MaskSample] = []
        labelled: list[MultiLabelSample] = []
        for entry in read_coco(index):
            path = self._image(self.root, entry, index)
            group = Path(entry.file_name).parent.name
            labels = entry.entry.get("labels", {})
            if self.task == "segmentation":
                masks.append(RenderedSample(path, group, self.root / str(entry.entry.get("mask"))))
            else:
                holds = tuple(labels.get(name) for name in SCENE_LABELS)
                labelled.append(MultiLabelSample(path, holds, group))
        return masks or labelled

    def keys(self, sample: Sample) -> dict[str, str]:
        """Return scene: the group."""
        return {"scene": sample.group}


def _rendered_table() -> NDArray[np.uint8]:
    """Return which mask value each of `rille.frame.CLASSES` becomes; ground is the rest."""
    table = np.zeros(256, np.uint8)
    for value, label in enumerate(SimulatedScenes.classes, 1):
        table[CLASSES.index(label)] = value
    return table


_RENDERED = _rendered_table()
