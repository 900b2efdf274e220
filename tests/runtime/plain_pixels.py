"""Resizing and CLAHE in NumPy, the references that the compiled ones are held against.

OpenCV's own are other ones on ARM. Its CLAHE interpolates between tiles in floating point, and
compilers for processors that can multiply and add in one rounding do so; its resizing there is
another library's. NumPy rounds after every step. The steps are those of OpenCV's `resize.cpp` (8
bits, INTER_LINEAR) and `clahe.cpp`, and on x86-64 every bit is the same as OpenCV's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEVELS = 256


def resize(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Stretch an image, (H, W) or (H, W, 3) uint8, as `cv2.resize` does."""
    upper, lower, up, down = _neighbours(image.shape[0], height, clamped=False)
    left, right, before, after = _neighbours(image.shape[1], width, clamped=True)
    deep = (slice(None), *[None] * (image.ndim - 1))
    wide = (None, slice(None), *[None] * (image.ndim - 2))
    pixels = image.astype(np.int64)
    mixed = (pixels[:, left] * before[wide] + pixels[:, right] * after[wide]) >> 4
    made = (mixed[upper] * up[deep] >> 16) + (mixed[lower] * down[deep] >> 16)
    return np.asarray((made + 2) >> 2, np.uint8)


def _neighbours(
    source: int, made: int, *, clamped: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return both neighbours of each sample, and 2048 times the part of each.

    Columns beyond the first and the last are given that one's place, rows only its pixels.
    """
    place = np.float32((np.arange(made) + 0.5) / (made / source) - 0.5)
    first = np.floor(place).astype(np.int64)
    far = place - first.astype(np.float32)
    if clamped:
        far[(first < 0) | (first >= source - 1)] = 0
    near = np.float32(1) - far
    parts = [np.rint(part * np.float32(2048)).astype(np.int64) for part in (near, far)]
    ends = [np.clip(at, 0, source - 1) for at in (first, first + 1)]
    return ends[0], ends[1], parts[0], parts[1]


def clahe(image: NDArray[np.uint8], clip_limit: float, tiles: int) -> NDArray[np.uint8]:
    """Even out a grey image, (H, W) uint8, as `cv2.createCLAHE(clip_limit, (tiles, tiles))` does.

    Args:
        image: the image.
        clip_limit: contrast limit, above 0.
        tiles: tiles along each axis.
    """
    height, width = image.shape
    padded: NDArray[np.uint8] = image
    if height % tiles or width % tiles:
        below, right = tiles - height % tiles, tiles - width % tiles
        padded = np.asarray(
            cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT_101), np.uint8
        )
    tall, wide = padded.shape[0] // tiles, padded.shape[1] // tiles
    tables = _tables(padded.reshape(tiles, tall, tiles, wide), clip_limit)
    top, bottom, down = _between(height, tall, tiles)
    left, right_, across = _between(width, wide, tiles)
    upper = _mixed(tables, image, top, left, right_, across)
    lower = _mixed(tables, image, bottom, left, right_, across)
    blended = upper * (np.float32(1) - down)[:, None] + lower * down[:, None]
    return np.asarray(np.clip(np.rint(blended), 0, 255), np.uint8)


def _tables(blocks: NDArray[np.uint8], clip_limit: float) -> NDArray[np.float32]:
    """Return (tiles, tiles, 256): what each tile's own equalisation makes of each level."""
    tiles, tall, _, wide = blocks.shape
    area = tall * wide
    limit = max(int(clip_limit * area / _LEVELS), 1)
    scale = np.float32(_LEVELS - 1) / np.float32(area)
    tables = np.empty((tiles, tiles, _LEVELS), np.float32)
    for row in range(tiles):
        for column in range(tiles):
            block = blocks[row, :, column]
            counts = _clipped(np.bincount(block.ravel(), minlength=_LEVELS), limit)
            tables[row, column] = np.rint(counts.cumsum().astype(np.float32) * scale)
    return np.clip(tables, 0, 255)


def _clipped(counts: NDArray[np.intp], limit: int) -> NDArray[np.intp]:
    """Cut a histogram at the limit and spread what was cut evenly, the rest at even distances."""
    cut = int(np.maximum(counts - limit, 0).sum())
    each, rest = divmod(cut, _LEVELS)
    counts = np.minimum(counts, limit) + each
    if rest:
        step = max(_LEVELS // rest, 1)
        counts[: step * rest : step] += 1
    return counts


def _between(
    length: int, size: int, tiles: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return, along one axis, the tiles before and after each pixel and the share of the latter."""
    place = np.arange(length, dtype=np.float32) * (np.float32(1) / np.float32(size))
    place -= np.float32(0.5)
    before = np.floor(place)
    first = before.astype(np.intp)
    return np.maximum(first, 0), np.minimum(first + 1, tiles - 1), place - before


def _mixed(
    tables: NDArray[np.float32],
    image: NDArray[np.uint8],
    rows: NDArray[np.intp],
    left: NDArray[np.intp],
    right: NDArray[np.intp],
    across: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return what one row of tiles makes of each pixel, mixed from its left and right neighbour."""
    one = tables[rows[:, None], left[None, :], image]
    other = tables[rows[:, None], right[None, :], image]
    mixed: NDArray[np.float32] = one * (np.float32(1) - across) + other * across
    return mixed
