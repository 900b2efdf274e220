"""A camera coming down over a scene: frames, and the exact truth of each."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.ellipse import Ellipse, clipped_polygon, draw_ellipses, ellipse_from_moments
from rille.frame import Truth
from rille.sim.scene import CELL_M, CELLS, Scene
from rille.sim.sensor import TYPICAL, Sensor, SensorModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIELD_OF_VIEW_DEG = 45.0
START_M, END_M = 80_000.0, 30_000.0
_LEAST_LABEL_PX = 8.0
_LEAST_DEPTH_RATIO = 0.05


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the camera is: above ground point (x_m, y_m), turned and tilted.

    Attributes:
        x_m, y_m: ground point below the camera, metres from the scene's first cell.
        altitude_m: height above the mean ground.
        heading_deg: direction of the image's +x axis on the ground, from +x towards +y.
        pitch_deg, roll_deg: tilt away from straight down.
    """

    x_m: float
    y_m: float
    altitude_m: float
    heading_deg: float
    pitch_deg: float
    roll_deg: float


class Descent:
    """Renders the frames of one descent; frame `i` is the same whenever it is asked for.

    The ground is rendered as a lit map on its mean plane, so relief casts shadows and shades but
    does not shift with the viewpoint: at these altitudes that shift is under a pixel.

    Args:
        scene: the ground.
        seed: seed of the path and of the sensor's noise.
        width, height: size of the image in pixels.
        frames: frames from the start altitude to the end altitude.
        tilt_deg: of the line of sight away from straight down, 0 to 45.
        sensor: how good the camera is; exposure and companding are the descent camera's own.
    """

    def __init__(
        self,
        scene: Scene,
        seed: int,
        width: int,
        height: int,
        frames: int,
        *,
        tilt_deg: float = 0.0,
        sensor: SensorModel = TYPICAL,
    ) -> None:
        self.scene = scene
        self.width, self.height, self.frames = width, height, frames
        self._tilt_deg = tilt_deg
        rng = np.random.default_rng([seed, 2])
        self._heading = float(rng.uniform(-12.0, 12.0))
        self._drift = rng.uniform(-1.0, 1.0, 2)
        self._sway = rng.uniform(0.0, 2 * math.pi, 2)
        self._focal_px = width / 2 / math.tan(math.radians(FIELD_OF_VIEW_DEG / 2))
        linear = replace(sensor, gamma=1.0, bright_quantile=0.99, bright_level=0.85)
        self._sensor = Sensor(linear, width, height, seed)
        self._craters = self._labelled()

    def pose(self, index: int) -> Pose:
        """Return where the camera is at a frame."""
        share = min(1.0, index / max(1, self.frames - 1))
        # Maps of another size or fineness are flown over at a height in proportion.
        unit = self.scene.side_m / (CELLS * CELL_M)
        half, tilt = math.radians(FIELD_OF_VIEW_DEG / 2), math.radians(self._tilt_deg)
        near, far = math.tan(tilt - half), math.tan(tilt + half)
        # An oblique view sees farther, so it starts lower to stay within the scene.
        start = unit * START_M * 2 * math.tan(half) / (far - near)
        altitude = start * (END_M / START_M) ** share
        middle = self.scene.side_m / 2
        # What the camera sees at the start must lie inside the scene.
        room = middle - start * (far - near) / 2 * 1.35
        wander = room * 0.5 + unit * 6000.0 * share
        heading = math.radians(self._heading + 20.0 * share)
        # The view leans towards the top of the image; the camera stays behind what it sees.
        behind = altitude * (near + far) / 2
        sway = [2.2 * math.sin(0.09 * index + phase) for phase in self._sway]
        return Pose(
            x_m=middle + self._drift[0] * wander - math.sin(heading) * behind,
            y_m=middle
            + self._drift[1] * wander
            - unit * 5000.0 * (share - 0.5)
            + math.cos(heading) * behind,
            altitude_m=altitude,
            heading_deg=self._heading + 20.0 * share,
            pitch_deg=sway[0] - self._tilt_deg,
            roll_deg=sway[1],
        )

    def ground_to_image(self, pose: Pose) -> NDArray[np.float64]:
        """Return the 3x3 homography from ground metres to image pixels of a pinhole camera."""
        heading = math.radians(pose.heading_deg)
        c, s = math.cos(heading), math.sin(heading)
        # Camera axes: x right, y down the image, z along the line of sight (into the ground).
        turn = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
        a, b = math.radians(pose.pitch_deg), math.radians(pose.roll_deg)
        pitch = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
        roll = np.array([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
        rotation = roll @ pitch @ turn
        f, cx, cy = self._focal_px, (self.width - 1) / 2, (self.height - 1) / 2
        camera = np.array([[f, 0, cx], [0, f, cy], [0, 0, 1.0]])
        # A ground point (X, Y) lies at (X - x, Y - y, altitude) from the camera.
        place = np.array([[1, 0, -pose.x_m], [0, 1, -pose.y_m], [0, 0, pose.altitude_m]])
        return np.asarray(camera @ rotation @ place, np.float64)

    def frame(self, index: int) -> tuple[NDArray[np.uint8], Truth]:
        """Render one frame.

        Returns:
            (height, width) uint8, and what it shows.
        """
        pose = self.pose(index)
        project = self.ground_to_image(pose)
        metres_per_px = pose.altitude_m / self._focal_px
        radiance = self._sample(project, metres_per_px)
        return self._sensor.expose(radiance, index), self._truth(pose, project, metres_per_px)

    def _sample(self, project: NDArray[np.float64], metres_per_px: float) -> NDArray[np.float32]:
        """Look the scene up through the camera, blending the two map scales around the pixel's."""
        maps = self.scene.radiance
        scale = min(max(math.log2(metres_per_px / self.scene.cell_m), 0.0), len(maps) - 1.001)
        level, share = int(scale), scale - int(scale)
        lower, upper = (self._look(maps[k], k, project) for k in (level, level + 1))
        return cv2.addWeighted(lower, 1 - share, upper, share, 0.0)  # type: ignore[return-value]

    def _look(
        self, radiance: NDArray[np.float32], level: int, project: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        cell = self.scene.cell_m * 2**level
        # Cell k of a map covers [k, k + 1) cells; its centre is half a cell on.
        offset = cell / 2 - self.scene.cell_m / 2
        to_metres = np.array([[cell, 0, offset], [0, cell, offset], [0, 0, 1.0]])
        return cv2.warpPerspective(  # type: ignore[return-value]
            radiance,
            project @ to_metres,
            (self.width, self.height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )

    def _labelled(self) -> NDArray[np.float64]:
        """Return x, y, half axes, angle, diameter and depth ratio of the craters that can be seen.

        Returns:
            (n, 7), in metres and radians.
        """
        c = self.scene.craters
        root = np.sqrt(c.ratio)
        columns = (c.x_m, c.y_m, c.diameter_m / 2 / root, c.diameter_m / 2 * root)
        table = np.stack([*columns, np.radians(c.angle_deg), c.diameter_m, c.depth_ratio], axis=1)
        return np.asarray(table[c.depth_ratio >= _LEAST_DEPTH_RATIO], np.float64)

    def _truth(self, pose: Pose, project: NDArray[np.float64], metres_per_px: float) -> Truth:
        """Project every visible crater; keep those of a size and place to be found."""
        x, y, _, _, _, diameter, _ = self._craters.T
        at = project @ np.stack([x, y, np.ones_like(x)])
        ahead = at[2] > 0.05 * pose.altitude_m
        centre = at[:2] / np.where(ahead, at[2], 1.0)
        middle = np.array([[(self.width - 1) / 2], [(self.height - 1) / 2]])
        reach_px = math.hypot(self.width, self.height) / 2 + diameter / metres_per_px
        near = ahead & (np.linalg.norm(centre - middle, axis=0) <= reach_px)
        near &= diameter >= _LEAST_LABEL_PX * 0.5 * metres_per_px
        craters, rows = [], []
        for row in self._craters[near]:
            ellipse = project_ellipse(project, *row[:5].tolist())
            inside = (
                -ellipse.semi_major < ellipse.x < self.width + ellipse.semi_major
                and -ellipse.semi_major < ellipse.y < self.height + ellipse.semi_major
            )
            if inside and ellipse.diameter >= _LEAST_LABEL_PX:
                craters.append(ellipse)
                rows.append(row)
        mask = np.zeros((self.height, self.width), np.uint8)
        draw_ellipses(mask, craters)
        return Truth(
            crater_mask=mask,
            craters=tuple(craters),
            diameters_m=tuple(float(row[5]) for row in rows),
            depth_ratios=tuple(float(row[6]) for row in rows),
            visible=tuple(self._share_inside(ellipse) for ellipse in craters),
            metres_per_px=metres_per_px,
            sun_azimuth_deg=self.scene.sun_azimuth_deg,
            sun_elevation_deg=self.scene.sun_elevation_deg,
            pose=asdict(pose),
        )

    def _share_inside(self, ellipse: Ellipse) -> float:
        polygon = clipped_polygon(ellipse, self.width, self.height)
        if len(polygon) < 3:
            return 0.0
        return min(1.0, float(cv2.contourArea(polygon)) / ellipse.area)


def project_ellipse(
    project: NDArray[np.float64], x: float, y: float, major: float, minor: float, angle: float
) -> Ellipse:
    """Return the image of a ground ellipse under a homography, exactly.

    With points on the ellipse as P (cos t, sin t, 1), its image is the conic with dual
    D = H P diag(1, 1, -1) P^T H^T; centre and second moments read off the normalised dual.

    Args:
        project: homography from ground metres to image pixels.
        x, y, major, minor: centre and half axes in metres.
        angle: direction of the major axis in radians, from +x towards +y.
    """
    c, s = math.cos(angle), math.sin(angle)
    points = np.array([[major * c, -minor * s, x], [major * s, minor * c, y], [0.0, 0.0, 1.0]])
    image = project @ points
    dual = image @ np.diag([1.0, 1.0, -1.0]) @ image.T
    dual = dual / dual[2, 2]
    cx, cy = dual[0, 2], dual[1, 2]
    # The covariance of a filled ellipse is a quarter of its squared shape matrix.
    xx, yy, xy = cx * cx - dual[0, 0], cy * cy - dual[1, 1], cx * cy - dual[0, 1]
    return ellipse_from_moments(cx, cy, xx / 4, yy / 4, xy / 4)
