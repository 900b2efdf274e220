"""Reading COCO annotation files: images, polygons, run-length masks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille.errors import DatasetError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Shape:
    """One annotation: a category, and what it covers as COCO states it."""

    category: str
    segmentation: Any = field(repr=False)

    def draw(self, canvas: NDArray[np.uint8], value: int, where: str) -> None:
        """Set the pixels it covers in place.

        Args:
            canvas: (H, W) uint8 of the image's size.
            value: what to set.
            where: what to call it in an error.

        Raises:
            DatasetError: neither polygons nor a run-length mask of this size.
        """
        try:
            if isinstance(self.segmentation, Mapping):
                canvas[run_length_mask(self.segmentation, canvas.shape)] = value
                return
            for flat in self.segmentation:
                points = np.asarray(flat, np.float64).reshape(-1, 2)
                if not np.isfinite(points).all() or np.abs(points).max() > 1e6:
                    raise ValueError("a coordinate is not a sensible number")
                # Pixel (0, 0) covers [0, 1): its centre lies at 0.5 in COCO's coordinates.
                fixed = np.rint((points - 0.5) * 16).astype(np.int32)
                cv2.fillPoly(canvas, [fixed], value, shift=4)
        except (TypeError, ValueError, KeyError) as wrong:
            raise DatasetError(f"{where}: segmentation cannot be understood ({wrong})") from None


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One image of an annotation file.

    Attributes:
        file_name: as stated, relative to the file's own folder.
        width, height: in pixels, as stated.
        shapes: its annotations in their order.
        entry: the image's whole entry.
    """

    file_name: str
    width: int
    height: int
    shapes: tuple[Shape, ...]
    entry: Mapping[str, Any]


def read_coco(path: Path) -> list[CocoImage]:
    """Read an annotation file.

    Raises:
        DatasetError: not JSON, or without the entries that COCO asks for.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as wrong:
        raise DatasetError(f"{path}: cannot be read ({str(wrong)[:120]})") from None
    try:
        names = {int(c["id"]): str(c["name"]) for c in table["categories"]}
        shapes: dict[int, list[Shape]] = {int(image["id"]): [] for image in table["images"]}
        for a in table["annotations"]:
            if int(a["image_id"]) not in shapes:
                raise DatasetError(f"{path}: annotation {a['id']} is for an image that is not here")
            if int(a["category_id"]) not in names:
                raise DatasetError(
                    f"{path}: annotation {a['id']} has category {a['category_id']}, which is not "
                    "in the list"
                )
            shapes[int(a["image_id"])].append(
                Shape(names[int(a["category_id"])], a["segmentation"])
            )
        return [
            CocoImage(
                str(image["file_name"]),
                int(image["width"]),
                int(image["height"]),
                tuple(shapes[int(image["id"])]),
                image,
            )
            for image in table["images"]
        ]
    except (KeyError, TypeError, ValueError) as wrong:
        raise DatasetError(
            f"{path}: not a COCO annotation file ({type(wrong).__name__}: {wrong})"
        ) from None


def run_length_mask(segmentation: Mapping[str, Any], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Decode a run-length mask, compressed or not.

    The compressed form packs each run into characters of 6 bits from "0" on: 5 bits of the number,
    lowest first, and one bit that says more follow; from the third run on it is the difference
    to the run two before (COCO API, maskApi.c).

    Args:
        segmentation: "size" (height, width) and "counts", column by column, empty first.
        shape: (height, width) that it must have.

    Raises:
        ValueError: of another size, or runs that do not add up to it.
    """
    if tuple(segmentation["size"]) != tuple(shape):
        raise ValueError(f"mask of {segmentation['size']}, image of {list(shape)}")
    counts = segmentation["counts"]
    runs = _unpacked(counts) if isinstance(counts, str) else [int(n) for n in counts]
    height, width = shape
    if min(runs, default=-1) < 0 or sum(runs) != height * width:
        raise ValueError("runs do not add up to the image")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T


def _unpacked(text: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError(f"{character!r} is no part of a run-length mask")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    return runs
