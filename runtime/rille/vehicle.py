"""What the vehicle knows about a frame besides its pixels: the Sun, the exposure, the pose."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

_MOST_POSE, _LONGEST_NAME = 32, 32
_RANGES = {
    "sun_azimuth_deg": (-360.0, 360.0),
    "sun_elevation_deg": (-90.0, 90.0),
    "exposure_ms": (0.0, 3_600_000.0),
    "gain_db": (-60.0, 120.0),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Vehicle:
    """What the vehicle knew when a frame was taken; None where it did not.

    Attributes:
        sun_azimuth_deg: where the light comes from in the image, from +x (right) towards +y (down),
            -360 to 360. For a camera that looks down this is as in `Truth`; for one that looks
            ahead, as if the ground were seen from above with what is ahead at the top.
        sun_elevation_deg: of the Sun above the horizon, -90 to 90.
        exposure_ms, gain_db: of the camera.
        pose: position in metres and angles in degrees, by name; at most 32.

    Raises:
        ValueError: a number out of range or not finite, or a pose of too many or too long names.
    """

    sun_azimuth_deg: float | None = None
    sun_elevation_deg: float | None = None
    exposure_ms: float | None = None
    gain_db: float | None = None
    pose: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name} must be from {low:g} to {high:g}, not {value:g}")
        if len(self.pose) > _MOST_POSE or any(len(name) > _LONGEST_NAME for name in self.pose):
            raise ValueError(f"pose may have {_MOST_POSE} names of {_LONGEST_NAME} letters")
        if not all(math.isfinite(value) for value in self.pose.values()):
            raise ValueError("pose holds a number that is not finite")

    def completed(self, camera: Vehicle | None) -> Vehicle:
        """Return the same with exposure and gain as the camera says, where they are not known.

        Args:
            camera: what the camera knows of the frame, if anything.
        """
        if camera is None:
            return self
        return replace(
            self,
            exposure_ms=camera.exposure_ms if self.exposure_ms is None else self.exposure_ms,
            gain_db=camera.gain_db if self.gain_db is None else self.gain_db,
        )

    def to_json(self) -> dict[str, Any]:
        """Return what is known, with rounded numbers, for a results file."""
        record: dict[str, Any] = {
            name: round(getattr(self, name), 4)
            for name in _RANGES
            if getattr(self, name) is not None
        }
        if self.pose:
            record["pose"] = {name: round(value, 4) for name, value in self.pose.items()}
        return record
