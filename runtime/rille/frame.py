"""A frame: pixels, and when and where they were taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from rille.errors import FrameDecodeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.ellipse import Ellipse
    from rille.vehicle import Vehicle


CLASSES = ("sky", "ground", "crater", "stone", "artifact", "track")
"""What a pixel of a simulated frame can show; its index is its number in `Truth.classes`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stone:
    """A rock in a simulated frame.

    Attributes:
        box_px: left, top, right, bottom of what is seen of it, inclusive.
        area_px: pixels seen of it.
        diameter_m: largest horizontal extent.
    """

    box_px: tuple[int, int, int, int]
    area_px: int
    diameter_m: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """What a simulated frame shows, exactly.

    Attributes:
        crater_mask: (H, W) uint8, 1 inside a labelled crater's outline.
        craters: the labelled craters in frame pixels; parts may lie outside the frame.
        diameters_m: their diameters in metres, in the same order.
        depth_ratios: their depths over their diameters.
        visible: the shares of their outlines that are seen, 0 to 1.
        metres_per_px: ground size of a pixel at the frame's centre; infinite in the sky.
        sun_azimuth_deg, sun_elevation_deg: where the light comes from; azimuth on the map, from +x
            (right) towards +y (down).
        pose: position in metres and angles in degrees, by name.
        classes: (H, W) uint8, indices of `CLASSES`; the class of the pixel's centre ray.
        shadow: (H, W) uint8, 1 where no direct sunlight falls; sky is 0.
        range_m: (H, W) float32 distance along the ground; infinite in the sky.
        stones: the rocks seen with three pixels or more.
        labels: scene label -> whether it holds; None where the frame is no clear case.
    """

    crater_mask: NDArray[np.uint8]
    craters: tuple[Ellipse, ...]
    diameters_m: tuple[float, ...]
    depth_ratios: tuple[float, ...] = ()
    visible: tuple[float, ...] = ()
    metres_per_px: float
    sun_azimuth_deg: float = 0.0
    sun_elevation_deg: float = 90.0
    pose: Mapping[str, float] = field(default_factory=dict)
    classes: NDArray[np.uint8] | None = None
    shadow: NDArray[np.uint8] | None = None
    range_m: NDArray[np.float32] | None = None
    stones: tuple[Stone, ...] = ()
    labels: Mapping[str, bool | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One image from a source.

    Attributes:
        pixels: (H, W, 3) uint8 RGB or (H, W) uint8; treat it as read-only.
        index: position in its stream from 0; a lost frame leaves a gap.
        captured_ns: when it was captured, on the monotonic clock of this machine.
        name: what the source calls it, for people (a file name, "sim 12").
        source_ns: the camera's own time stamp, if it has one; data, never used for deadlines.
        truth: what it shows, if it is simulated.
        vehicle: what the vehicle knew when it was taken, if that came along.

    Raises:
        FrameDecodeError: the pixels are not an 8-bit image of one or three channels.
    """

    pixels: NDArray[np.uint8]
    index: int
    captured_ns: int
    name: str = ""
    source_ns: int | None = None
    truth: Truth | None = field(default=None, repr=False)
    vehicle: Vehicle | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        shape, kind = self.pixels.shape, self.pixels.dtype
        layout = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
        if kind != np.uint8 or not layout or 0 in shape:
            raise FrameDecodeError(
                f"frame {self.index} {self.name}: shape {list(shape)} of {kind}; "
                "needed is (H, W, 3) or (H, W) of uint8"
            )

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[0])
