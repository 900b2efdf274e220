"""Following features into frames that were not segmented, by the motion of the picture.

Corners are followed from frame to frame by pyramidal Lucas-Kanade flow (Bouguet 2000) on a picture
of at most 320 pixels width. Ground seen from a rover or an orbiter is nearly a plane, so their
motion is one homography, found by RANSAC; a feature's ellipse moves with it, to first order around
its centre. Nothing new is found this way: what drives into the picture waits for the next
segmentation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.ellipse import Ellipse, ellipse_from_moments
from rille.result import Feature, Tracked

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDTH = 320
_CORNERS, _LEAST = 160, 16
_INLIER_PX = 1.5
_INLIER_SHARE = 0.5
_LONGEST_NS = 3_000_000_000


@dataclass(frozen=True, slots=True)
class _Anchor:
    """The frame from which features are followed.

    Attributes:
        small: (h, w) uint8, grey, made smaller.
        scale: its pixels a pixel of the frame.
        features: in pixels of the frame.
        captured_ns: when the frame was captured that they were found in.
        age: frames since then.
    """

    small: NDArray[np.uint8]
    scale: float
    features: tuple[Feature, ...]
    captured_ns: int
    age: int = 0


class FeatureTracker:
    """Follows the features of one source, in the order of its frames."""

    def __init__(self) -> None:
        self._anchor: _Anchor | None = None

    def found(
        self, pixels: NDArray[np.uint8], features: tuple[Feature, ...], captured_ns: int
    ) -> None:
        """Take note of a frame that was segmented.

        Args:
            pixels: (H, W, 3) RGB or (H, W) grey, uint8.
            features: what was found, in pixels of the frame.
            captured_ns: when it was captured.
        """
        small, scale = _shrunk(pixels)
        self._anchor = _Anchor(small, scale, features, captured_ns)

    def follow(self, pixels: NDArray[np.uint8], captured_ns: int) -> Tracked | None:
        """Return where the features are in a frame that was not segmented.

        Args:
            pixels: (H, W, 3) RGB or (H, W) grey, uint8, of the size of the segmented one.
            captured_ns: when it was captured.

        Returns:
            The features still in sight; None where nothing was found yet, the motion cannot be
            told, or more than three seconds have passed. Then they are given up for good.
        """
        anchor, self._anchor = self._anchor, None
        if anchor is None or captured_ns - anchor.captured_ns > _LONGEST_NS:
            return None
        small, scale = _shrunk(pixels)
        if small.shape != anchor.small.shape:
            return None
        motion = _motion(anchor.small, small)
        if motion is None:
            return None
        zoom = np.diag([scale, scale, 1.0])
        in_frame = np.linalg.inv(zoom) @ motion @ zoom
        height, width = pixels.shape[:2]
        moved = [f._replace(ellipse=_moved(f.ellipse, in_frame)) for f in anchor.features]
        kept = tuple(f for f in moved if _in_sight(f.ellipse, width, height))
        self._anchor = _Anchor(small, scale, kept, anchor.captured_ns, anchor.age + 1)
        return Tracked(
            features=kept,
            age_frames=anchor.age + 1,
            age_ms=(captured_ns - anchor.captured_ns) / 1e6,
        )


def _shrunk(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """Return a grey copy of at most `_WIDTH` pixels width, and its scale."""
    scale = min(1.0, _WIDTH / pixels.shape[1])
    plane = pixels if pixels.ndim == 2 else pixels[:, :, 1]
    if scale == 1.0:
        return plane.copy(), 1.0
    size = (_WIDTH, max(1, round(pixels.shape[0] * scale)))
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.uint8), scale


def _motion(before: NDArray[np.uint8], now: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """Return the homography from one picture to the next; None where it cannot be told."""
    corners = cv2.goodFeaturesToTrack(before, _CORNERS, 0.01, 7)
    if corners is None or len(corners) < _LEAST:
        return None
    moved, status, _ = cv2.calcOpticalFlowPyrLK(before, now, corners, None)  # type: ignore[call-overload]
    found = status.ravel() == 1
    if np.count_nonzero(found) < _LEAST:
        return None
    motion, inliers = cv2.findHomography(corners[found], moved[found], cv2.RANSAC, _INLIER_PX)
    if motion is None or inliers.sum() < max(_LEAST, _INLIER_SHARE * np.count_nonzero(found)):
        return None
    return np.asarray(motion, np.float64)


def _moved(ellipse: Ellipse, motion: NDArray[np.float64]) -> Ellipse:
    """Return an ellipse after a homography: its quadratic form A becomes J A J^T."""
    u, v, w = motion @ (ellipse.x, ellipse.y, 1.0)
    x, y = u / w, v / w
    jacobian = (motion[:2, :2] - np.outer((x, y), motion[2, :2])) / w
    angle = math.radians(ellipse.angle_deg)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    form = turn @ np.diag([ellipse.semi_major**2, ellipse.semi_minor**2]) @ turn.T
    form = jacobian @ form @ jacobian.T / 4.0
    return ellipse_from_moments(x, y, form[0, 0], form[1, 1], form[0, 1])


def _in_sight(ellipse: Ellipse, width: int, height: int) -> bool:
    return -0.5 <= ellipse.x < width - 0.5 and -0.5 <= ellipse.y < height - 0.5
