"""ALRL: the Artificial Lunar Rocky Landscape data set (Pessia and Ishigami, Keio University).

Kaggle romainpessia/artificial-lunar-rocky-landscape-dataset, DOI 10.34740/kaggle/dsv/489236,
CC BY-NC-SA 4.0:

    images/render/render0001.png ...    9,766 rendered images, 720 x 480
    images/ground/ground0001.png ...    their masks; colours darken with distance and add up
    images/clean/clean0001.png ...      the same without small and far blobs; not read
    real_moon_images/PCAM<n>.png        Chang'E-3 photographs, each with a mask g_PCAM<n>.png
    bounding_boxes.csv                  Frame,TopLeftCornerX,TopLeftCornerY,Length,Height

The palette is red sky, green small rocks, blue large rocks, black ground: a channel counts above
127, and rock wins over sky where both are set. Images and masks are paired by frame id, the digits
before `.png`, never by sorted position. The folders are storage and never labels.

It serves segmentation (stone, sky) and classification (`hazard`). No split is published. Here they
are blocks of frame ids, because neighbouring frames may share terrain: train to 6836, val to 8301,
test the rest (70/15/15 % of 9,766); the same in a copy that lacks some frames. The photographs are
the split "real", without boxes and so for segmentation alone. A group is a frame.

Written to the published description: the set itself was not at hand.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.datasets.base import ImageSample, Label, Sample
from rille.errors import DatasetError, SourceError, nearest
from rille.images import read_image, read_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

STONE, SKY = 1, 2
HAZARDS = ("clear", "scattered", "hazardous")
LARGEST_SHARE = 0.05
"""A rock whose box covers this much of the image is a hazard by itself."""
RENDERED_PX = 720, 480
"""Width and height that `bounding_boxes.csv` refers to."""


def hazard(boxes: Sequence[tuple[float, float]], size_px: tuple[int, int] = RENDERED_PX) -> int:
    """Return the index in `HAZARDS` of a frame with these rocks.

    Clear: no rock. Scattered: one or two. Hazardous: three or more, or one that covers at least
    `LARGEST_SHARE` of the image. Only large rocks of at least 20 x 20 px have boxes.

    Args:
        boxes: (width, height) of each rock's box in pixels.
        size_px: (width, height) of the image.
    """
    if not boxes:
        return 0
    largest = max(width * height for width, height in boxes) / (size_px[0] * size_px[1])
    return 2 if len(boxes) >= 3 or largest >= LARGEST_SHARE else 1


@dataclass(frozen=True, slots=True)
class PaletteSample:
    """An image with a mask in ALRL's palette; see `rille.datasets.base.MaskSample`.

    Attributes:
        path: the image file.
        group: the frame.
        mask_path: the mask file.
        resized: whether the mask may have another size than the image, as hand-drawn ones do.
    """

    path: Path
    group: str
    mask_path: Path
    resized: bool = False

    @property
    def label(self) -> str:
        """The mask file's name and size, as text."""
        return f"{self.mask_path.name} {self.mask_path.stat().st_size}"

    def mask(self) -> NDArray[np.uint8]:
        """Return the class mask; see `rille.datasets.base.MaskSample.mask`."""
        try:
            classes = palette_classes(read_image(self.mask_path))
            size = read_size(self.path)
        except (SourceError, ValueError) as wrong:
            raise DatasetError(f"{self.mask_path}: no mask for {self.path.name}: {wrong}") from None
        if classes.shape[::-1] == size:
            return classes
        if not self.resized:
            stated = " x ".join(map(str, classes.shape[::-1]))
            raise DatasetError(
                f"{self.mask_path}: {stated} pixels, but {self.path.name} has {size[0]} x {size[1]}"
            )
        return cv2.resize(classes, size, interpolation=cv2.INTER_NEAREST)  # type: ignore[return-value]


def palette_classes(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the classes of a mask in ALRL's palette: 0 ground, `STONE`, `SKY`.

    Args:
        mask: (H, W, 3) uint8 RGB, or (H, W) if it was stored grey.

    Raises:
        ValueError: more than 1 % of the pixels have light in all three channels, as no mixture of
            two of the palette's colours has.
    """
    if mask.ndim == 2:
        mask = np.repeat(mask[:, :, None], 3, axis=2)
    foreign = float((mask.min(axis=2) > 32).mean())
    if foreign > 0.01:
        raise ValueError(
            f"{100 * foreign:.0f} % of its pixels have a colour outside the palette (red sky, "
            "green small rocks, blue large rocks, black ground)"
        )
    red, green, blue = (mask[:, :, channel] > 127 for channel in range(3))
    return np.where(green | blue, STONE, np.where(red, SKY, 0)).astype(np.uint8)


class AlrlDataset:
    """The ALRL data set; see the module's description for layout, palette and splits.

    Raises:
        DatasetError: a task it does not serve, or two files with one frame id.
    """

    TASKS = ("segmentation", "classification")
    INDEX = "bounding_boxes.csv"
    LAST_TRAIN, LAST_VAL = 6836, 8301
    name = "alrl"

    @classmethod
    def found(cls, root: Path) -> bool:
        """Return whether a folder has this layout."""
        return (root / "images" / "render").is_dir()

    def __init__(self, root: Path, task: str = "segmentation") -> None:
        if task not in self.TASKS:
            raise DatasetError(f"{root}: serves {' and '.join(self.TASKS)}, not {task}")
        self.root = root
        self.task = task
        classes = tuple(Label(i, name) for i, name in enumerate(HAZARDS))
        masks = (Label(STONE, "stone"), Label(SKY, "sky"))
        self.labels: tuple[Label, ...] = masks if task == "segmentation" else classes
        self._frames = _by_frame(root / "images" / "render")

    def splits(self) -> list[str]:
        """Return the splits that have images here: train, val, test, and real for masks."""
        here = {self._split(frame) for frame in self._frames}
        if self.task == "segmentation" and self._photographs():
            here.add("real")
        return [name for name in ("train", "val", "test", "real") if name in here]

    def _split(self, frame: int) -> str:
        if frame <= self.LAST_TRAIN:
            return "train"
        return "val" if frame <= self.LAST_VAL else "test"

    def samples(self, split: str) -> list[PaletteSample] | list[ImageSample]:
        """Return the samples of a split in order of frame id, photographs by name.

        Raises:
            DatasetError: no such split, an image without a mask, or boxes that cannot be read.
        """
        if split not in self.splits():
            known = self.splits()
            raise DatasetError(
                f"{self.root}: no split {split!r}{nearest(split, known)} (here: {', '.join(known)})"
            )
        if split == "real":
            return [PaletteSample(i, i.stem, m, resized=True) for i, m in self._photographs() if m]
        frames = {k: path for k, path in self._frames.items() if self._split(k) == split}
        if self.task == "segmentation":
            masks = _by_frame(self.root / "images" / "ground")
            return [self._paired(k, path, masks) for k, path in frames.items()]
        boxes = _read_boxes(self.root / self.INDEX)
        return [ImageSample(path, hazard(boxes.get(k, [])), str(k)) for k, path in frames.items()]

    def _paired(self, frame: int, path: Path, masks: Mapping[int, Path]) -> PaletteSample:
        if frame not in masks:
            folder = self.root / "images" / "ground"
            raise DatasetError(
                f"{path}: no mask of frame {frame} in {folder}; remove the image or add its mask"
            )
        return PaletteSample(path, str(frame), masks[frame])

    def _photographs(self) -> list[tuple[Path, Path | None]]:
        """Return the photographs, sorted by name, with their masks as far as they have one."""
        folder = self.root / "real_moon_images"
        images = [p for p in sorted(folder.glob("*.png")) if not p.name.startswith(("g_", "."))]
        masks = [folder / f"g_{path.name}" for path in images]
        return [(i, m if m.is_file() else None) for i, m in zip(images, masks, strict=True)]

    def keys(self, sample: Sample) -> dict[str, str]:
        """Return frame: the group."""
        return {"frame": sample.group}

    def remarks(self, splits: Mapping[str, Sequence[Sample]]) -> list[str]:
        """Name the photographs that are left out for want of a mask."""
        bare = [path.name for path, mask in self._photographs() if mask is None]
        if "real" not in splits or not bare:
            return []
        return [f"photographs without a mask g_<name>, left out of real: {', '.join(bare)}"]


def _by_frame(folder: Path) -> dict[int, Path]:
    """Return the PNG files of a folder by the digits before `.png`, in their order."""
    frames: dict[int, Path] = {}
    for path in sorted(folder.glob("*.png")):
        if path.name.startswith("."):
            continue
        digits = re.search(r"(\d+)\.png$", path.name)
        if not digits:
            raise DatasetError(f"{path}: no frame id before .png, as in render0001.png")
        first = frames.setdefault(int(digits[1]), path)
        if first != path:
            raise DatasetError(f"{path}: has the frame id of {first.name}; keep one of them")
    return dict(sorted(frames.items()))


def _read_boxes(path: Path) -> dict[int, list[tuple[float, float]]]:
    """Return (width, height) in pixels of each box, by frame id."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); hazard classes need it") from None
    reader = csv.DictReader(text.splitlines())
    wanted = ("Frame", "TopLeftCornerX", "TopLeftCornerY", "Length", "Height")
    missing = [name for name in wanted if name not in (reader.fieldnames or ())]
    if missing:
        raise DatasetError(f"{path}:1: no column {missing[0]!r}; expected {','.join(wanted)}")
    boxes: dict[int, list[tuple[float, float]]] = {}
    try:
        for row in reader:
            frame, width, height = int(row["Frame"]), float(row["Length"]), float(row["Height"])
            if not (0 < width < math.inf and 0 < height < math.inf):
                raise ValueError("a box must be wider and higher than 0")
            boxes.setdefault(frame, []).append((width, height))
    except (TypeError, ValueError, csv.Error) as wrong:
        raise DatasetError(f"{path}:{reader.line_num}: not a box ({wrong})") from None
    return boxes
