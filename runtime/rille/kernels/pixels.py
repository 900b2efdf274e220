"""Colour, size and contrast of 8-bit images."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from rille.kernels.library import address, load

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FLIP = 128
_SPARE = 8
"""Numbers beyond the end of a row that a kernel may write to."""


def gray(pixels: NDArray[np.uint8], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Return the luma (ITU-R BT.601) of a colour image, with OpenCV's bits.

    Args:
        pixels: (H, W, 3), red first.
        out: memory for the result, used if it has the right shape.

    Returns:
        (H, W) uint8.
    """
    pixels = _whole(pixels, 3)
    out = _memory(out, pixels.shape[:2])
    load().rille_gray(address(pixels), out.size, address(out))
    return out


def halve(pixels: NDArray[np.uint8], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Return an image at half size: averages of two by two pixels, halves rounded up.

    An odd last row or column is spread over the others, by bilinear sampling.

    Args:
        pixels: (H, W, 3) or (H, W), at least 2 x 2.
        out: memory for the result, used if it has the right shape.

    Returns:
        (H // 2, W // 2, 3) or (H // 2, W // 2) uint8.
    """
    height, width = pixels.shape[:2]
    pixels = _whole(pixels, _channels(pixels))
    out = _memory(out, (height // 2, width // 2, *pixels.shape[2:]))
    if height % 2 or width % 2:
        return resize(pixels, out)
    load().rille_halve(address(pixels), height, width, _channels(pixels), address(out))
    return out


def resize(
    pixels: NDArray[np.uint8], out: NDArray[np.uint8], *, flip: bool = False
) -> NDArray[np.uint8]:
    """Stretch an image by bilinear sampling, as `cv2.resize` does on x86-64.

    OpenCV's own gives other bits on ARM.

    Args:
        pixels: (H, W, 3) or (H, W).
        out: (h, w, 3) or (h, w), where it is put; its rows may lie apart.
        flip: whether to flip each byte's highest bit: read as int8, 128 less.

    Returns:
        `out`.
    """
    channels = _channels(pixels)
    pixels = _whole(pixels, channels)
    stride = _stride(out, channels)
    rows, row_parts = _rows(pixels.shape[0], out.shape[0])
    columns, column_parts = _columns(pixels.shape[1], out.shape[1])
    scratch = np.empty(3 * (out.shape[1] * channels + _SPARE), np.int16)
    load().rille_resize(
        *(address(pixels), pixels.shape[1], channels),
        *(address(rows), address(row_parts), out.shape[0]),
        *(address(columns), address(column_parts), out.shape[1]),
        *(_FLIP * flip, stride, address(out), address(scratch)),
    )
    return out


def clahe(
    image: NDArray[np.uint8],
    clip_limit: float,
    tiles: int,
    out: NDArray[np.uint8] | None = None,
    *,
    flip: bool = False,
) -> NDArray[np.uint8]:
    """Even out a grey image as `cv2.createCLAHE(clip_limit, (tiles, tiles))` does on x86-64.

    OpenCV's own rounds otherwise on processors that multiply and add in one step.

    Args:
        image: (H, W).
        clip_limit: contrast limit, above 0.
        tiles: tiles along each axis.
        out: (H, W), where it is put; its rows may lie apart.
        flip: as in `resize`.

    Returns:
        (H, W) uint8.
    """
    image = _whole(image, 1)
    height, width = image.shape
    if out is None:
        out = np.empty((height, width), np.uint8)
    elif out.shape != image.shape:
        raise ValueError(f"out is of shape {list(out.shape)}, not {list(image.shape)}")
    stride = _stride(out, 1)
    # Where one side is no multiple of the tiles, OpenCV makes both longer.
    padded = bool(height % tiles or width % tiles)
    tall, rows, _, down = _lattice(height, tiles, padded)
    wide, _, gaps, across = _lattice(width, tiles, padded)
    limit = max(int(clip_limit * tall * wide / 256), 1)
    tables = np.empty(tiles * tiles * 256, np.uint8)
    packed = np.empty((tiles + 1) * 256, np.uint32)
    load().rille_clahe(
        *(address(image), height, width, tiles, tall, wide, limit),
        *(address(rows), address(down), address(gaps), address(across)),
        *(address(tables), address(packed), _FLIP * flip, stride, address(out)),
    )
    return out


def _channels(pixels: NDArray[np.uint8]) -> int:
    return 1 if pixels.ndim == 2 else pixels.shape[2]


def _whole(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Return an image with its rows one after the other, checked: kernels believe what they get."""
    grey = pixels.ndim == 2 and channels == 1
    if pixels.dtype != np.uint8 or not (grey or (pixels.shape[2:] == (3,) and channels == 3)):
        raise ValueError(f"no 8-bit image: {list(pixels.shape)} of {pixels.dtype}")
    if pixels.size == 0:
        raise ValueError(f"an image of {list(pixels.shape)} holds no pixel")
    return np.ascontiguousarray(pixels)


def _memory(out: NDArray[np.uint8] | None, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return memory of a shape: the one given, where it is right."""
    if out is not None and out.shape == shape and out.flags.carray and out.dtype == np.uint8:
        return out
    return np.empty(shape, np.uint8)


def _stride(out: NDArray[np.uint8], channels: int) -> int:
    """Return the bytes from row to row of memory for a result, checked."""
    inner = (1,) if channels == 1 else (channels, 1)
    shaped = out.shape[2:] == ((channels,) if channels > 1 else ())
    if out.dtype != np.uint8 or not shaped or out.strides[1:] != inner or out.size == 0:
        raise ValueError(f"no memory for {channels} channels: {list(out.shape)} of {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("memory for a result cannot be written")
    return out.strides[0]


def _places(source: int, made: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the first neighbour of each of `made` samples, and how far from it they lie."""
    place = ((np.arange(made) + 0.5) * (1.0 / (made / source)) - 0.5).astype(np.float32)
    first = np.floor(place)
    return first, place - first


def _parts(far: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return 2048 times the part of each of two neighbours, rounded by itself."""
    return np.rint(np.stack([np.float32(1) - far, far], axis=1) * np.float32(2048)).astype(np.int16)


@functools.lru_cache(maxsize=64)
def _rows(source: int, made: int) -> tuple[NDArray[np.int32], NDArray[np.int16]]:
    """Return, for each of `made` rows, its two neighbours among `source` and their parts."""
    first, far = _places(source, made)
    both = np.stack([first, first + 1], axis=1)
    return np.clip(both, 0, source - 1).astype(np.int32), _parts(far)


@functools.lru_cache(maxsize=64)
def _columns(source: int, made: int) -> tuple[NDArray[np.int32], NDArray[np.int16]]:
    """Return, for each of `made` columns, its first neighbour among `source`, and both parts."""
    first, far = _places(source, made)
    # Beyond the outermost there is nothing to mix with.
    far[first < 0] = 0
    far[first >= source - 1] = 1 if source > 1 else 0
    return np.clip(first, 0, max(source - 2, 0)).astype(np.int32), _parts(far)


@functools.lru_cache(maxsize=64)
def _lattice(
    length: int, tiles: int, padded: bool
) -> tuple[int, NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Return the size of a tile and where pixels lie among the tiles' centres, along one axis.

    Args:
        length: of the image.
        tiles: how many.
        padded: whether the image is made longer, so that tiles fit.

    Returns:
        The size; for each pixel the tile whose centre is before it (-1: none); where each of the
        gaps between centres begins, and their end; for each pixel the share of the tile after it.
    """
    size = (length + (tiles - length % tiles) * padded) // tiles
    place = np.arange(length, dtype=np.float32) * (np.float32(1) / np.float32(size))
    place -= np.float32(0.5)
    before = np.floor(place)
    gaps = np.searchsorted(before, np.arange(-1, tiles + 1))
    gaps[-1] = length
    return size, before.astype(np.int32), gaps.astype(np.int32), place - before
