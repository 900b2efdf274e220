"""What a data set offers, and how its layout is recognised."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rille.ellipse import Ellipse
from rille.errors import DatasetError, SourceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IGNORED = 255
"""Value of the pixels of a class mask that are neither trained on nor scored."""


@dataclass(frozen=True, slots=True)
class Label:
    """One class: the data set's own id (kept as published, gaps included) and name."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class ImageSample:
    """One image with one class.

    Attributes:
        path: the image file.
        label_id: the published class id.
        group: images of one group are not independent and must stay in one split or fold.
    """

    path: Path
    label_id: int
    group: str

    @property
    def label(self) -> str:
        """What is stated about the image, as text."""
        return str(self.label_id)


@dataclass(frozen=True, slots=True)
class MultiLabelSample:
    """One image with independent yes/no labels.

    Attributes:
        path: the image file.
        holds: whether each of the data set's labels holds, in their order; None where that is no
            clear case, which is neither trained on nor scored.
        group: images of one group are not independent.
    """

    path: Path
    holds: tuple[bool | None, ...]
    group: str

    @property
    def label(self) -> str:
        """What is stated about the image, as text."""
        return str(self.holds)


class MaskSample(Protocol):
    """One image with a class for each pixel."""

    @property
    def path(self) -> Path:
        """The image file."""
        ...

    @property
    def group(self) -> str:
        """Images of one group are not independent."""
        ...

    @property
    def label(self) -> str:
        """What is stated about the image, as text that changes when the mask does."""
        ...

    def mask(self) -> NDArray[np.uint8]:
        """Return the (H, W) class mask: 0 for the rest, k for label k - 1 in the data set's order.

        `IGNORED` marks pixels that are neither trained on nor scored.

        Raises:
            DatasetError: the mask is damaged, of another size than the image, or holds a value
                that stands for no class.
        """
        ...


@dataclass(frozen=True, slots=True)
class BoxSample:
    """One image with upright boxes around round features.

    Attributes:
        path: the image file.
        boxes: (class id, x centre, y centre, width, height), the last four as fractions of the
            image, as stored.
        group: images of one group are not independent.
    """

    path: Path
    boxes: tuple[tuple[int, float, float, float, float], ...]
    group: str

    @property
    def label(self) -> str:
        """What is stated about the image, as text."""
        return str(self.boxes)

    def ellipses(self, width: int, height: int) -> list[Ellipse]:
        """Return the feature in each box as an ellipse, in pixels of a `width` x `height` image.

        A box that was clipped at the image border is completed first: round features on one map
        projection share one width-to-height ratio, which the uncut boxes tell, so the side that
        was not cut gives the length of the one that was. Parts may lie outside the image.
        """
        edge = 1.5 / max(width, height)
        cut = [
            (x - w / 2 < edge, x + w / 2 > 1 - edge, y - h / 2 < edge, y + h / 2 > 1 - edge)
            for _, x, y, w, h in self.boxes
        ]
        ratios = sorted(
            (w * width) / (h * height)
            for (_, _, _, w, h), sides in zip(self.boxes, cut, strict=True)
            if not any(sides) and h > 0
        )
        ratio = ratios[len(ratios) // 2] if len(ratios) >= 3 else 1.0
        return [
            _complete(box, sides, ratio, width, height)
            for box, sides in zip(self.boxes, cut, strict=True)
        ]


def _complete(
    box: tuple[int, float, float, float, float],
    cut: tuple[bool, bool, bool, bool],
    ratio: float,
    width: int,
    height: int,
) -> Ellipse:
    _, x, y, w, h = box
    x, y, w, h = x * width, y * height, w * width, h * height
    left, right, top, bottom = cut
    full_w = max(w, h * ratio) if left != right else w
    full_h = max(h, w / ratio) if top != bottom else h
    if left != right:
        x += (full_w - w) / 2 * (1 if right else -1)
    if top != bottom:
        y += (full_h - h) / 2 * (1 if bottom else -1)
    return Ellipse.from_box(x - 0.5, y - 0.5, max(full_w, 1.0), max(full_h, 1.0))


Sample = ImageSample | MultiLabelSample | BoxSample | MaskSample


class Dataset(Protocol):
    """A labelled data set on disk.

    Attributes:
        name: short name, for reports.
        root: the folder.
        task: what its labels are for: "classification", "multilabel" or "segmentation".
        labels: every class of the published list, in order of id.
    """

    name: str
    root: Path
    task: str
    labels: tuple[Label, ...]

    def splits(self) -> list[str]:
        """Return the names of the splits whose files are here."""
        ...

    def samples(self, split: str) -> Sequence[Sample]:
        """Return the samples of one split in the published order.

        Raises:
            DatasetError: no such split, or a line or file that cannot be understood.
        """
        ...

    def keys(self, sample: Sample) -> Mapping[str, str]:
        """Return what ties a sample to others, by kind, its group among them.

        Samples of two splits with an equal key of one kind are a leak. The kind "original" means
        versions of one picture, for which two labels contradict each other.
        """
        ...


@runtime_checkable
class Remarks(Protocol):
    """A data set with something of its own to say when `rille.datasets.check` looks at it."""

    def remarks(self, splits: Mapping[str, Sequence[Sample]]) -> list[str]:
        """Return sentences for the report, empty where there is nothing to say."""
        ...


def original_name(path: Path) -> str:
    """Return a file's stem without the `.rf.<hash>` that Roboflow gives each augmented copy."""
    return path.stem.partition(".rf.")[0]


def open_dataset(root: Path, task: str = "") -> Dataset:
    """Recognise the layout of the data set in `root`.

    Args:
        root: the folder.
        task: what it is wanted for; empty for what its labels are mainly for. Scenes with class
            masks also serve as scenes with labels.

    Raises:
        DatasetError: no such folder, a layout that is not known, or labels for another task.
    """
    from rille.datasets.guard import refuse_folder_labels

    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder")
    found = _recognised(root, task)
    if found is None:
        raise _not_recognised(root)
    refuse_folder_labels(found.labels, str(root))
    if task and found.task != task:
        raise DatasetError(f"{root}: a data set for {found.task}, not for {task}")
    return found


def _recognised(root: Path, task: str = "") -> Dataset | None:
    """Return the data set in a folder; one that serves several tasks, for the task wanted."""
    from rille.datasets.alrl import AlrlDataset
    from rille.datasets.msl import MslDataset
    from rille.datasets.polygons import PolygonFolder
    from rille.datasets.scenes import ChangeScenes, SimulatedScenes
    from rille.datasets.yolo import YoloDataset

    wanted = task or "segmentation"
    layouts: list[tuple[Callable[[Path], bool], Callable[[], Dataset]]] = [
        (MslDataset.found, lambda: MslDataset(root)),
        (AlrlDataset.found, lambda: AlrlDataset(root, wanted)),
        (YoloDataset.found, lambda: YoloDataset(root)),
        (SimulatedScenes.found, lambda: SimulatedScenes(root, wanted)),
        (ChangeScenes.found, lambda: ChangeScenes(root, wanted)),
        (PolygonFolder.found, lambda: PolygonFolder(root)),
    ]
    return next((opened() for found, opened in layouts if found(root)), None)


def _holds_set(root: Path) -> bool:
    try:
        return _recognised(root) is not None
    except SourceError:
        return True  # of a known layout, only damaged


def _not_recognised(root: Path) -> DatasetError:
    """Return the error for a folder that holds no known layout: what was looked for, and where."""
    from rille.datasets.guard import class_folders, refuse_folder_labels

    inside = [path.name for path in sorted(root.iterdir()) if path.is_dir() and _holds_set(path)]
    if inside:
        return DatasetError(
            f"{root}: not a data set, but a folder in it is; name that one: {', '.join(inside)}"
        )
    folders = class_folders(root)
    refuse_folder_labels([Label(i, name) for i, name in enumerate(folders)], str(root))
    hint = f"; folders as classes ({', '.join(folders[:3])}, …) are not read" if folders else ""
    return DatasetError(
        f"{root}: layout not recognised; expected at its top msl_synset_words-indexed.txt or "
        "Labels Information.txt (MSL v1), images/render (ALRL), data.yaml (YOLO boxes), "
        "scenario.json (rille sim render), train/_annotations.coco.json (COCO polygons), or "
        f"images and labels (YOLO polygons){hint}"
    )


def listing_digest(samples: Sequence[Sample], root: Path) -> str:
    """Return a SHA-256 over names, labels and file sizes: enough to tell two versions apart."""
    digest = hashlib.sha256()
    for sample in samples:
        name, size = sample.path.relative_to(root), sample.path.stat().st_size
        digest.update(f"{name} {size} {sample.label}\n".encode())
    return digest.hexdigest()


def samples_of(dataset: Dataset, splits: str) -> list[Sample]:
    """Return the samples of one split, or of several joined by "+" ("train+val").

    Raises:
        DatasetError: no such split.
    """
    return [sample for split in splits.split("+") for sample in dataset.samples(split)]
