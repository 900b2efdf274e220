"""Ellipses in an image: drawing, overlap. Craters are ellipses everywhere in rille.

Pixel (0, 0) has its centre at (0.0, 0.0); y points down; angles turn from +x towards +y.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


class Ellipse(NamedTuple):  # a third of the time of a frozen dataclass, a hundred times a frame
    """An ellipse in image pixels.

    Attributes:
        x, y: centre.
        semi_major, semi_minor: half axes in pixels, major >= minor > 0.
        angle_deg: direction of the major axis from +x towards +y, in [0, 180).
    """

    x: float
    y: float
    semi_major: float
    semi_minor: float
    angle_deg: float = 0.0

    @classmethod
    def from_box(cls, x: float, y: float, width: float, height: float) -> Ellipse:
        """Return the ellipse inscribed in an upright box given by centre and size in pixels."""
        if width >= height:
            return cls(x, y, width / 2, height / 2, 0.0)
        return cls(x, y, height / 2, width / 2, 90.0)

    @property
    def area(self) -> float:
        """Area in square pixels."""
        return math.pi * self.semi_major * self.semi_minor

    @property
    def diameter(self) -> float:
        """Diameter in pixels of the circle of the same area."""
        return 2.0 * math.sqrt(self.semi_major * self.semi_minor)

    def scaled(self, factor: float) -> Ellipse:
        """Return the ellipse with the same centre and both axes times `factor`."""
        return Ellipse(
            self.x, self.y, self.semi_major * factor, self.semi_minor * factor, self.angle_deg
        )

    def polygon(self, points: int = 48) -> NDArray[np.float32]:
        """Return (points, 2) float32 vertices of equal area to the ellipse, in order.

        An inscribed polygon would be smaller by sin(2 pi / n) / (2 pi / n); the vertices are
        pushed out by the root of that.
        """
        turn = np.linspace(0.0, 2 * math.pi, points, endpoint=False)
        grow = math.sqrt((2 * math.pi / points) / math.sin(2 * math.pi / points))
        along, across = self.semi_major * np.cos(turn), self.semi_minor * np.sin(turn)
        angle = math.radians(self.angle_deg)
        x = self.x + grow * (along * math.cos(angle) - across * math.sin(angle))
        y = self.y + grow * (along * math.sin(angle) + across * math.cos(angle))
        return np.stack([x, y], axis=1).astype(np.float32)

    def mapped(self, scale_x: float, scale_y: float, dx: float = 0.0, dy: float = 0.0) -> Ellipse:
        """Return the image of this ellipse under x -> scale_x * x + dx, y -> scale_y * y + dy.

        The quadratic form A = R diag(a^2, b^2) R^T becomes S A S; its eigenvalues are the new
        squared axes.
        """
        x, y = self.x * scale_x + dx, self.y * scale_y + dy
        if scale_x == scale_y:
            a, b = self.semi_major * scale_x, self.semi_minor * scale_x
            return Ellipse(x, y, a, b, self.angle_deg)
        angle = math.radians(self.angle_deg)
        c, s = math.cos(angle), math.sin(angle)
        a2, b2 = self.semi_major**2, self.semi_minor**2
        xx = (c * c * a2 + s * s * b2) * scale_x**2
        yy = (s * s * a2 + c * c * b2) * scale_y**2
        xy = c * s * (a2 - b2) * scale_x * scale_y
        return ellipse_from_moments(x, y, xx / 4, yy / 4, xy / 4)


def ellipse_from_moments(x: float, y: float, xx: float, yy: float, xy: float) -> Ellipse:
    """Return the filled ellipse that has this centre and these central second moments.

    For a filled ellipse the variance along an axis is a quarter of the squared half axis.

    Args:
        x, y: centre in pixels.
        xx, yy, xy: variances and covariance of its pixels in square pixels.
    """
    if xy == 0.0:
        return Ellipse.from_box(
            x, y, 4.0 * math.sqrt(max(xx, 1e-12)), 4.0 * math.sqrt(max(yy, 1e-12))
        )
    mean, half = (xx + yy) / 2, math.hypot((xx - yy) / 2, xy)
    major = 2.0 * math.sqrt(max(mean + half, 1e-12))
    minor = 2.0 * math.sqrt(max(mean - half, 1e-12))
    angle = math.degrees(0.5 * math.atan2(2 * xy, xx - yy)) % 180.0
    return Ellipse(x, y, major, minor, angle)


def draw_ellipses(mask: NDArray[np.uint8], ellipses: Iterable[Ellipse], value: int = 1) -> None:
    """Fill ellipses into a mask in place: exactly the pixels whose centre is inside or on it.

    OpenCV's own filled ellipses also take the pixels their outline touches: a crater of ten pixels
    would come out a fifth too large.
    """
    for e in ellipses:
        angle = math.radians(e.angle_deg)
        c, s = math.cos(angle), math.sin(angle)
        half_w = math.hypot(e.semi_major * c, e.semi_minor * s)
        half_h = math.hypot(e.semi_major * s, e.semi_minor * c)
        left, right = max(0, math.ceil(e.x - half_w)), math.floor(e.x + half_w) + 1
        top, bottom = max(0, math.ceil(e.y - half_h)), math.floor(e.y + half_h) + 1
        part = mask[top : max(bottom, 0), left : max(right, 0)]
        if not part.size:
            continue
        dx = (np.arange(left, left + part.shape[1]) - e.x)[None, :]
        dy = (np.arange(top, top + part.shape[0]) - e.y)[:, None]
        along, across = (dx * c + dy * s) / e.semi_major, (dy * c - dx * s) / e.semi_minor
        part[along * along + across * across <= 1.0] = value


def clipped_polygon(ellipse: Ellipse, width: int, height: int) -> NDArray[np.float32]:
    """Return the part of an ellipse inside a `width` x `height` image as (n, 2) vertices.

    Returns an empty array where nothing is inside.
    """
    polygon = ellipse.polygon()
    inside = (polygon >= -0.5).all() and (polygon <= (width - 0.5, height - 0.5)).all()
    if inside:
        return polygon
    frame = np.array(
        [(-0.5, -0.5), (width - 0.5, -0.5), (width - 0.5, height - 0.5), (-0.5, height - 0.5)],
        np.float32,
    )
    area, part = cv2.intersectConvexConvex(polygon, frame)
    if area <= 0 or part is None:
        return np.zeros((0, 2), np.float32)
    return np.asarray(part, np.float32).reshape(-1, 2)


def polygon_iou(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return intersection over union of two convex polygons, 0 where either is empty."""
    if len(one) < 3 or len(other) < 3:
        return 0.0
    common, _ = cv2.intersectConvexConvex(one, other)
    total = cv2.contourArea(one) + cv2.contourArea(other) - common
    return float(common / total) if total > 0 else 0.0
