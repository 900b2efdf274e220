"""A camera's geometry: where each pixel looks, and where a point is seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class View:
    """Where a camera is and how it is turned.

    Attributes:
        x_m, y_m, z_m: position; x right, y down the map, z up.
        yaw_deg: direction of sight on the map, from +x towards +y.
        pitch_deg: below the horizontal.
        roll_deg: clockwise as seen from behind the camera.
    """

    x_m: float
    y_m: float
    z_m: float
    yaw_deg: float
    pitch_deg: float
    roll_deg: float

    def axes(self) -> NDArray[np.float64]:
        """Return the camera's right, down and forward unit vectors as rows, (3, 3)."""
        yaw, pitch, roll = (math.radians(v) for v in (self.yaw_deg, self.pitch_deg, self.roll_deg))
        forward = np.array(
            [math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), -math.sin(pitch)]
        )
        level = np.array([-math.sin(yaw), math.cos(yaw), 0.0])
        below = np.array(
            [-math.cos(yaw) * math.sin(pitch), -math.sin(yaw) * math.sin(pitch), -math.cos(pitch)]
        )
        right = level * math.cos(roll) + below * math.sin(roll)
        down = below * math.cos(roll) - level * math.sin(roll)
        return np.stack([right, down, forward])


class Lens:
    """A pinhole with Brown's distortion (radial k1, k2, k3 and tangential p1, p2).

    Args:
        width, height: of the image in pixels.
        field_of_view_deg: horizontal, without distortion.
        distortion: k1, k2, p1, p2, k3, in OpenCV's order.
    """

    def __init__(
        self,
        width: int,
        height: int,
        field_of_view_deg: float,
        distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0),
    ) -> None:
        self.width, self.height = width, height
        self.focal_px = width / 2 / math.tan(math.radians(field_of_view_deg / 2))
        self.matrix = np.array(
            [
                [self.focal_px, 0.0, (width - 1) / 2],
                [0.0, self.focal_px, (height - 1) / 2],
                [0.0, 0.0, 1.0],
            ]
        )
        self.distortion = np.array(distortion)
        columns, rows = np.meshgrid(np.arange(width), np.arange(height))
        pixels = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float64)
        plane = cv2.undistortPoints(pixels[:, None, :], self.matrix, self.distortion)
        plane = np.asarray(plane).reshape(height, width, 2).astype(np.float32)
        self.right, self.down = plane[..., 0].copy(), plane[..., 1].copy()
        """Where each pixel looks, (height, width): to the right and down, per unit forward."""
        self.widest = float(np.hypot(self.right, self.down).max())
        """Tangent of the largest angle between a pixel's ray and the line of sight."""

    def directions(
        self, view: View, rows: slice
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return world directions of some rows' pixels, each (rows, width), not normalised."""
        right, down, forward = view.axes().astype(np.float32)
        a, b = self.right[rows], self.down[rows]
        x, y, z = (a * right[k] + b * down[k] + forward[k] for k in range(3))
        return x, y, z

    def project(
        self, view: View, points_m: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where points are seen.

        Args:
            view: the camera.
            points_m: (n, 3) points of the world.

        Returns:
            (n, 2) pixels, and (n,) distances along the line of sight; not above 0 behind it.
        """
        local = (points_m - (view.x_m, view.y_m, view.z_m)) @ view.axes().T
        ahead = np.maximum(local[:, 2], 1e-6)
        plane = np.stack([local[:, 0] / ahead, local[:, 1] / ahead, np.ones(len(local))], axis=1)
        seen, _ = cv2.projectPoints(
            plane[:, None, :], np.zeros(3), np.zeros(3), self.matrix, self.distortion
        )
        return np.asarray(seen, np.float64).reshape(-1, 2), local[:, 2]
