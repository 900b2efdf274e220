"""What a network's input or output looks like: name, shape, type and quantisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.errors import ManifestError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
_UPWARD = 0.5 + 2.0**-12
"""Added before numbers are cut off: what float32 leaves a hair below half way counts as half."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorSpec:
    """One network input or output; real = (stored - zero_point) * scale.

    Attributes:
        shape: sizes in order, batch first; every one is fixed.
        dtype: "float32", "int8", "uint8" or "int16".
        scale: real units per step, above 0; 1 for float32.
        zero_point: the stored number that means real 0; 0 for float32.

    Raises:
        ManifestError: an unknown type, a size below 1 or a scale that is not above 0.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    scale: float = 1.0
    zero_point: int = 0

    def __post_init__(self) -> None:
        if self.dtype not in ("float32", *_RANGES):
            raise ManifestError(f"tensor: type {self.dtype!r} is not supported")
        if not self.shape or min(self.shape) < 1:
            raise ManifestError(f"tensor: shape {list(self.shape)} is not fixed and positive")
        if not 0 < self.scale < float("inf"):
            raise ManifestError(f"tensor: scale {self.scale} must be above 0 and finite")
        low, high = _RANGES.get(self.dtype, (0, 0))
        if not low <= self.zero_point <= high:
            raise ManifestError(f"tensor: zero point {self.zero_point} is not a {self.dtype}")

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The NumPy type of the stored numbers."""
        return np.dtype(self.dtype)

    @property
    def zero(self) -> int:
        """The stored number that means real 0."""
        return self.zero_point

    def quantize(self, real: NDArray[np.float32]) -> NDArray[Any]:
        """Turn real numbers into stored ones: rounded to nearest, clipped to the type's range.

        Half way between two steps goes up. Pixels scaled to -1..1 are all half way, and rounding
        them to even steps, as NumPy does, would give two neighbouring grey levels one number.
        """
        if self.dtype == "float32":
            return real.astype(np.float32, copy=False)
        low, high = _RANGES[self.dtype]
        steps = np.floor(real.astype(np.float64) / self.scale + _UPWARD) + self.zero_point
        return np.asarray(np.minimum(np.maximum(steps, low), high), self.numpy_dtype)

    def dequantize(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Turn stored numbers into real ones."""
        if self.dtype == "float32":
            return stored.astype(np.float32, copy=False)
        return (stored.astype(np.float32) - self.zero_point) * np.float32(self.scale)

    def to_json(self) -> dict[str, Any]:
        """Return the manifest form."""
        return {
            "shape": list(self.shape),
            "dtype": self.dtype,
            "scale": self.scale,
            "zero_point": self.zero_point,
        }
