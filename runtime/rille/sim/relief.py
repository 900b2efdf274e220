"""Fractal relief: the ground between craters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fractal(
    rng: np.random.Generator, cells: int, roughness_m: float, hurst: float, points: int = 8
) -> NDArray[np.float32]:
    """Return fractal relief: octaves of smooth noise, amplitude falling by 2^hurst each.

    Each octave is added at its own resolution and enlarged with the coarser ones, so that the
    whole costs little more than the last enlargement. It ends at waves of four cells.

    Args:
        rng: where chance comes from.
        cells: side of the map, `points` times a power of two.
        roughness_m: standard deviation of the coarsest octave.
        hurst: Hurst exponent, 0.76 (mare) to 0.95 (highland) on the Moon (Rosenburg 2011).
        points: grid points of the coarsest octave along a side.
    """
    amplitude = roughness_m
    total = np.zeros((points, points), np.float32)
    while True:
        total += rng.standard_normal((points, points), np.float32) * np.float32(amplitude)
        # White noise on a grid shows the grid when it is enlarged; a slight blur takes it away.
        total = cv2.GaussianBlur(total, (0, 0), 0.8)  # type: ignore[assignment]
        amplitude, points = amplitude * 2.0**-hurst, points * 2
        total = cv2.resize(total, (points, points), interpolation=cv2.INTER_CUBIC)  # type: ignore[assignment]
        if points == cells:
            return total


def zoom(height: NDArray[np.float32], factor: int, cells: int) -> NDArray[np.float32]:
    """Return the middle of a map on a grid `factor` times finer, (cells, cells).

    `cv2.resize` interpolates exactly, `cv2.warpAffine` to 1/32 of a cell, which would show as
    ribs in the slopes.
    """
    half = -(-cells // factor // 2) + 2
    middle = len(height) // 2
    part = height[middle - half : middle + half, middle - half : middle + half]
    finer = cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    start = half * factor - cells // 2
    return np.ascontiguousarray(finer[start : start + cells, start : start + cells], np.float32)


def deviation(height: NDArray[np.float32], lag: int) -> float:
    """Return the root-mean-square height difference of points `lag` cells apart."""
    along = height[:, lag:] - height[:, :-lag]
    across = height[lag:] - height[:-lag]
    return float(np.sqrt((np.square(along).mean() + np.square(across).mean()) / 2))
