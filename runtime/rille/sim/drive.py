"""The rover's way over the ground: a closed loop, and the camera carried along it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rille.sim.hardware import rover
from rille.sim.lens import View
from rille.sim.solids import Solids

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.sim.ground import Ground

_POINTS = 4096
_RADIUS_M = 21.0
_WHEELBASE_M, _GAUGE_M = 1.1, 0.9


class Loop:
    """A closed way around the origin.

    Args:
        seed: of its shape.
        turn: in radians; the same shape turned.
    """

    def __init__(self, seed: int, turn: float = 0.0) -> None:
        rng = np.random.default_rng([seed, 13])
        angle = np.linspace(0.0, 2 * math.pi, _POINTS + 1)
        radius = np.full(_POINTS + 1, _RADIUS_M)
        for k in (2, 3, 5):
            radius += rng.normal(0.0, 2.6 / k) * np.cos(k * angle + rng.uniform(0, 2 * math.pi))
        start = angle + rng.uniform(0, 2 * math.pi) + turn
        self.points_m = np.stack([radius * np.cos(start), radius * np.sin(start)], axis=1)
        steps = np.linalg.norm(np.diff(self.points_m, axis=0), axis=1)
        self._along = np.concatenate([[0.0], np.cumsum(steps)])
        self.length_m = float(self._along[-1])

    def at(self, distance_m: float) -> tuple[float, float, float]:
        """Return x and y in metres and the heading in degrees after a distance."""
        here, there = (
            [
                np.interp((distance_m + d) % self.length_m, self._along, self.points_m[:, k])
                for k in (0, 1)
            ]
            for d in (0.0, 0.05)
        )
        heading = math.degrees(math.atan2(there[1] - here[1], there[0] - here[0]))
        return float(here[0]), float(here[1]), heading

    def distance_to(
        self, x_m: NDArray[np.float64], y_m: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return how far points are from the way, metres."""
        nearest = np.full(len(x_m), np.inf)
        for part in np.array_split(self.points_m[::8], 16):
            away = np.hypot(x_m[:, None] - part[:, 0], y_m[:, None] - part[:, 1])
            nearest = np.minimum(nearest, away.min(axis=1))
        return nearest

    def ruts(self) -> list[NDArray[np.float64]]:
        """Return the two lines that the wheels roll along, each (n, 2)."""
        ahead = np.gradient(self.points_m, axis=0)
        ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
        side = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1)
        return [self.points_m + side * (half * _GAUGE_M / 2) for half in (-1.0, 1.0)]


class Drive:
    """Carries a mast camera along a loop over the ground.

    Args:
        ground: what is driven on.
        loop: the way.
        mast_m: height of the camera.
        pitch_deg: of the camera below the rover's own horizontal.
    """

    def __init__(
        self, ground: Ground, loop: Loop, mast_m: float = 1.8, pitch_deg: float = 14.0
    ) -> None:
        self._ground, self._loop = ground, loop
        self._mast_m, self._pitch_deg = mast_m, pitch_deg

    def view(self, distance_m: float) -> View:
        """Return where the camera is after a distance; it looks around a little, slowly."""
        x, y, heading, height, pitch, roll = self._attitude(distance_m)
        return View(
            x_m=x,
            y_m=y,
            z_m=height + self._mast_m,
            yaw_deg=heading + 9.0 * math.sin(distance_m / 3.1),
            pitch_deg=self._pitch_deg + pitch,
            roll_deg=roll,
        )

    def rover(self, distance_m: float) -> Solids:
        """Return the rover itself, of which the camera sees its own deck and shadow."""
        x, y, heading, height, pitch, roll = self._attitude(distance_m)
        right, down, ahead = View(x, y, height, heading, pitch, roll).axes()
        return rover(np.array([x, y, height]), np.stack([ahead, right, -down]), self._mast_m)

    def _attitude(self, distance_m: float) -> tuple[float, float, float, float, float, float]:
        """Return x, y, heading, height of the ground, pitch (nose down) and roll."""
        x, y, heading = self._loop.at(distance_m)
        radians = math.radians(heading)
        ahead = np.array([math.cos(radians), math.sin(radians)]) * _WHEELBASE_M / 2
        side = np.array([-math.sin(radians), math.cos(radians)]) * _GAUGE_M / 2
        signs = np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)])
        wheels = np.array([x, y]) + signs @ np.stack([ahead, side])
        heights = self._ground.heights_at(wheels[:, 0], wheels[:, 1]).astype(np.float64)
        rise, lean = (signs.T @ heights) / 4
        return (
            x,
            y,
            heading,
            float(heights.mean()),
            -math.degrees(math.atan2(rise, _WHEELBASE_M / 2)),
            -math.degrees(math.atan2(lean, _GAUGE_M / 2)),
        )
