"""How like real images simulated ones are, in figures that need no labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE_PX = 256
"""Images are compared at this width of their square middle."""
FIGURES = ("mean", "contrast", "skew", "dark share", "spectrum slope")
_DARK = 0.12
_BINS = 32


def measure(pixels: NDArray[np.uint8]) -> dict[str, float]:
    """Return figures of one image.

    Args:
        pixels: (H, W) or (H, W, 3) uint8.

    Returns:
        mean: mean brightness, 0 to 1; contrast: standard deviation over mean; skew: of the
        brightness; dark share: share of pixels below 0.12 of full scale (shadow, and black sky);
        spectrum slope: exponent of the radial power spectrum between 4 and 64 cycles a picture.
    """
    grey = _middle(pixels)
    mean, spread = float(grey.mean()), float(grey.std())
    skew = float(((grey - mean) ** 3).mean() / max(spread, 1e-6) ** 3)
    return {
        "mean": mean,
        "contrast": spread / max(mean, 1e-6),
        "skew": skew,
        "dark share": float((grey < _DARK).mean()),
        "spectrum slope": _slope(grey),
    }


def histogram(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the shares of pixels in 32 bins of brightness."""
    counts, _ = np.histogram(_middle(pixels), bins=_BINS, range=(0.0, 1.0))
    return np.asarray(counts / counts.sum(), np.float64)


def compare(
    simulated: Iterable[NDArray[np.uint8]], real: Iterable[NDArray[np.uint8]]
) -> dict[str, dict[str, float]]:
    """Compare two sets of images.

    Returns:
        Figure -> its median over the simulated and over the real images, the spread (half the
        range from the 16th to the 84th percentile) of the real ones, and the distance of the
        medians in such spreads. "histogram" holds the earth mover's distance between both mean
        histograms, as a share of the whole range.
    """
    groups = []
    for images in (simulated, real):
        figures, histograms = [], []
        for pixels in images:
            found = measure(pixels)
            figures.append([found[name] for name in FIGURES])
            histograms.append(histogram(pixels))
        groups.append((np.array(figures), np.mean(histograms, axis=0)))
    (ours, our_bins), (theirs, their_bins) = groups
    result: dict[str, dict[str, float]] = {}
    for k, name in enumerate(FIGURES):
        low, high = np.quantile(theirs[:, k], [0.16, 0.84])
        spread = max(float(high - low) / 2, 1e-9)
        a, b = float(np.median(ours[:, k])), float(np.median(theirs[:, k]))
        result[name] = {
            "simulated": a,
            "real": b,
            "spread": spread,
            "distance": abs(a - b) / spread,
        }
    moved = float(np.abs(np.cumsum(our_bins - their_bins)).sum() / _BINS)
    return result | {"histogram": {"distance": moved}}


def _middle(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the square middle in grey, SIDE_PX wide, 0 to 1."""
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    side = min(grey.shape)
    top, left = (grey.shape[0] - side) // 2, (grey.shape[1] - side) // 2
    square = grey[top : top + side, left : left + side]
    small = cv2.resize(square, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255)


def _slope(grey: NDArray[np.float32]) -> float:
    """Return the exponent of the radially averaged power spectrum, under a Hann window."""
    window = np.hanning(SIDE_PX)
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window[:, None] * window[None, :])) ** 2
    cycles = np.fft.fftfreq(SIDE_PX) * SIDE_PX
    radius = np.hypot(cycles[:, None], cycles[None, :]).round().astype(int)
    rings = np.bincount(radius.ravel(), power.ravel()) / np.bincount(radius.ravel())
    k = np.arange(4, 65)
    return float(np.polyfit(np.log(k), np.log(np.maximum(rings[k], 1e-12)), 1)[0])
