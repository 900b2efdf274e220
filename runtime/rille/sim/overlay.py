"""A simulated frame with its truth drawn in, and sheets of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.colours import COLOURS
from rille.frame import CLASSES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.frame import Truth

_SHADOW = (150, 60, 200)


def with_truth(pixels: NDArray[np.uint8], truth: Truth) -> NDArray[np.uint8]:
    """Return a frame with its classes, shadows and crater ellipses drawn over it.

    Args:
        pixels: (H, W) or (H, W, 3) uint8.
        truth: what it shows.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    picture = in_colour(pixels).copy()
    classes = classes_of(truth)
    for name, colour in COLOURS.items():
        _tint(picture, classes == CLASSES.index(name), colour, 0.45)
    if truth.shadow is not None:
        _tint(picture, truth.shadow > 0, _SHADOW, 0.35)
    for e in truth.craters:
        box = ((e.x, e.y), (2 * e.semi_major, 2 * e.semi_minor), e.angle_deg)
        cv2.ellipse(picture, box, COLOURS["crater"], 1, cv2.LINE_AA)
    return picture


def classes_of(truth: Truth) -> NDArray[np.uint8]:
    """Return the class of every pixel, (H, W) uint8, indices of `rille.frame.CLASSES`."""
    if truth.classes is not None:
        return truth.classes
    ground, crater = CLASSES.index("ground"), CLASSES.index("crater")
    return np.where(truth.crater_mask > 0, crater, ground).astype(np.uint8)


def in_colour(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB of a frame in grey or colour."""
    if pixels.ndim == 3:
        return pixels
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)


def sheet(pictures: Sequence[NDArray[np.uint8]], columns: int, width: int) -> NDArray[np.uint8]:
    """Return pictures side by side, row by row, each `width` pixels wide, RGB.

    Args:
        pictures: of one shape of height over width.
        columns: in a row.
        width: of one picture.
    """
    height = round(width * pictures[0].shape[0] / pictures[0].shape[1])
    rows = -(-len(pictures) // columns)
    page = np.zeros((rows * height, columns * width, 3), np.uint8)
    for k, picture in enumerate(pictures):
        top, left = k // columns * height, k % columns * width
        small = cv2.resize(in_colour(picture), (width, height), interpolation=cv2.INTER_AREA)
        page[top : top + height, left : left + width] = small
    return page


def _tint(
    picture: NDArray[np.uint8],
    where: NDArray[np.bool_],
    colour: tuple[int, int, int],
    strength: float,
) -> None:
    mixed = picture[where] * (1 - strength) + np.array(colour) * strength
    picture[where] = mixed.astype(np.uint8)
