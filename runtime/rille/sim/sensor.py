"""From radiance to eight bits: optics, exposure, noise and what a camera suffers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class SensorModel:
    """How good a camera is; zero switches an effect off.

    Attributes:
        psf_px: standard deviation of the point-spread function.
        vignette: loss of light in the corners, 0 to 1.
        prnu: standard deviation of the pixels' gains (photo-response non-uniformity).
        full_well: electrons at full scale.
        read_noise: electrons, standard deviation.
        dark: electrons collected in the dark.
        hot_pixels: pixels that are always bright.
        dust: specks on the lens.
        exposure: radiance shown as full scale; 0 for automatic exposure.
        bright_quantile, bright_level: automatic exposure puts this quantile at this share of
            full scale.
        gamma: exponent of the companding to eight bits; 1 for none.
        jpeg_quality: 1 to 100; 0 for no compression.
        noise: whether shot and read noise are added.
    """

    psf_px: float = 0.55
    vignette: float = 0.22
    prnu: float = 0.008
    full_well: float = 20_000.0
    read_noise: float = 18.0
    dark: float = 4.0
    hot_pixels: int = 12
    dust: int = 0
    exposure: float = 0.0
    bright_quantile: float = 0.97
    bright_level: float = 0.82
    gamma: float = 1 / 2.2
    jpeg_quality: int = 0
    noise: bool = True


CLEAN = SensorModel(
    psf_px=0.0, vignette=0.0, prnu=0.0, dark=0.0, hot_pixels=0, noise=False, bright_level=0.82
)
"""Geometry and light alone."""
TYPICAL = SensorModel()
"""A mast camera in good order."""
STRESSED = SensorModel(
    vignette=0.5,
    prnu=0.02,
    full_well=2500.0,
    read_noise=35.0,
    hot_pixels=60,
    dust=9,
    jpeg_quality=35,
)
"""An old camera in a hurry."""
GRADES = {"clean": CLEAN, "typical": TYPICAL, "stressed": STRESSED}
_TABLE = 4096


class Sensor:
    """Exposes frames; frame `index` comes out the same whenever it is asked for.

    Args:
        model: how good the camera is.
        width, height: of the frames in pixels.
        seed: of its fixed pattern and its noise.
    """

    def __init__(self, model: SensorModel, width: int, height: int, seed: int) -> None:
        self.model = model
        self._seed = seed
        rng = np.random.default_rng([seed, 3])
        x = (np.arange(width, dtype=np.float32) - (width - 1) / 2) / width
        y = (np.arange(height, dtype=np.float32) - (height - 1) / 2) / width
        corner = 0.25 * (1 + (height / width) ** 2)
        gain = 1 - model.vignette * (x[None, :] ** 2 + y[:, None] ** 2) / corner
        gain = gain * (1 + model.prnu * rng.standard_normal((height, width), np.float32))
        self.gain = (gain * _specks(rng, model.dust, width, height)).astype(np.float32)
        self._hot = rng.integers(0, width * height, model.hot_pixels)
        self._hot_electrons = rng.uniform(0.15, 0.9, model.hot_pixels) * model.full_well
        share = np.arange(_TABLE, dtype=np.float64) / (_TABLE - 1)
        self._companding = np.rint(255 * share**model.gamma).astype(np.uint8)

    def expose(
        self,
        radiance: NDArray[np.float32],
        index: int,
        motion_px: tuple[float, float] = (0.0, 0.0),
    ) -> NDArray[np.uint8]:
        """Return a frame as it is read out.

        Args:
            radiance: (H, W) or (H, W, 3) float32.
            index: of the frame; seeds its noise.
            motion_px: how far the picture moved during the exposure, right and down.

        Returns:
            uint8 of the same shape.
        """
        m = self.model
        light = cv2.GaussianBlur(radiance, (5, 5), m.psf_px) if m.psf_px else radiance
        light = _smear(np.asarray(light, np.float32), motion_px)
        gain = self.gain if light.ndim == 2 else self.gain[:, :, None]
        # Every eighth pixel is enough to find the bright end of the histogram.
        bright = m.exposure * m.bright_level or float(
            np.quantile(light[::8, ::8], m.bright_quantile)
        )
        scale = np.float32(m.bright_level * m.full_well / max(bright, 1e-6))
        electrons = light * gain * scale
        if m.noise:
            rng = np.random.Generator(np.random.SFC64([self._seed, 4, index]))
            electrons += np.float32(m.dark)
            spread = np.sqrt(np.maximum(electrons, 0) + np.float32(m.read_noise**2))
            electrons += rng.standard_normal(electrons.shape, np.float32) * spread
            electrons -= np.float32(m.dark)
        if len(self._hot):
            flat = electrons.reshape(self.gain.size, -1)
            flat[self._hot] += self._hot_electrons[:, None].astype(np.float32)
        return self._read_out(electrons)

    def _read_out(self, electrons: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Digitise to twelve bits, compand to eight, and compress."""
        m = self.model
        steps = electrons * np.float32((_TABLE - 1) / m.full_well)
        picture = self._companding.take(np.clip(steps, 0, _TABLE - 1).astype(np.uint16))
        if m.jpeg_quality:
            shown = picture[..., ::-1] if picture.ndim == 3 else picture
            good, packed = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, m.jpeg_quality])
            assert good
            picture = np.asarray(cv2.imdecode(packed, cv2.IMREAD_UNCHANGED), np.uint8)
            picture = np.ascontiguousarray(picture[..., ::-1]) if picture.ndim == 3 else picture
        return np.asarray(picture, np.uint8)


def _specks(rng: np.random.Generator, count: int, width: int, height: int) -> NDArray[np.float32]:
    """Return the transmission of a dusty lens: soft dark blobs, out of focus."""
    clear = np.ones((height, width), np.float32)
    for _ in range(count):
        centre = rng.uniform(0, width), rng.uniform(0, height)
        radius = rng.uniform(0.01, 0.05) * width
        y, x = np.ogrid[0:height, 0:width]
        away = np.hypot(x - centre[0], y - centre[1]) / radius
        clear *= 1 - np.float32(rng.uniform(0.1, 0.45)) * np.clip(1.4 - away, 0, 1)
    return clear


def _smear(light: NDArray[np.float32], motion_px: tuple[float, float]) -> NDArray[np.float32]:
    """Blur along the motion during the exposure."""
    right, down = motion_px
    length = math.hypot(right, down)
    if length < 0.25:
        return light
    reach = math.ceil(length / 2) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for share in np.linspace(-0.5, 0.5, 8 * reach + 1):
        # Each moment of the exposure falls between four pixels.
        x, y = reach + share * right, reach + share * down
        corners = [(int(y) + i, int(x) + j) for i in (0, 1) for j in (0, 1)]
        for row, column in corners:
            kernel[row, column] += (1 - abs(x - column)) * (1 - abs(y - row))
    return np.asarray(cv2.filter2D(light, -1, kernel / kernel.sum()), np.float32)
