"""What a capture module gives, one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rille.vehicle import Vehicle

MOST_MISSED = 1000
"""A count of frames that jumps by more is not believed."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame of a camera, or what arrived in its place.

    Attributes:
        pixels: (H, W, 3) RGB or (H, W) grey, uint8; None where the frame arrived damaged.
        source_ns: the camera's own time stamp, if it has one.
        captured_ns: when it was captured, on the monotonic clock of this machine; None for the
            moment at which it is given.
        missed: frames right before it that are known to have been taken and never got here.
        fault: what is wrong with a damaged one.
        vehicle: exposure and gain, where the camera tells them with the frame.
    """

    pixels: NDArray[np.uint8] | None
    source_ns: int | None = None
    captured_ns: int | None = None
    missed: int = 0
    fault: str = ""
    vehicle: Vehicle | None = None
