"""A scenario: everything that decides what a simulated camera sees, and the frames it gives."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rille.sim.air import tinted
from rille.sim.dem import build_dem_scene, read_catalogue, read_elevation
from rille.sim.descent import Descent
from rille.sim.drive import Drive
from rille.sim.ground import build_ground
from rille.sim.lens import Lens
from rille.sim.rover import RoverCamera
from rille.sim.scene import Scene, build_scene
from rille.sim.sensor import GRADES, Sensor
from rille.sim.truth import surface_truth
from rille.vehicle import Vehicle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.frame import Truth

WORLDS = ("moon", "mars")
VIEWS = ("descent", "rover", "tour")
_EXPOSURE_S = 0.004


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """What to simulate; equal scenarios give equal frames.

    Attributes:
        world, view: one of `WORLDS` and of `VIEWS`; a tour is a drive, then a descent.
        terrain: key of `ground.TERRAINS`; from above, mare or else highland.
        seed: of everything random.
        width, height: of the frames in pixels.
        frames: how many there are.
        fps: frames a second.
        speed_m_s: of the rover.
        field_of_view_deg: horizontal, of the rover's camera.
        tilt_deg: of the descent camera away from straight down, 0 to 45.
        sun_elevation_deg, sun_azimuth_deg: where the light comes from; azimuth on the map, from +x
            towards +y.
        sensor: key of `sensor.GRADES`.
        hardware: whether the rover's own deck, mast and shadow are in the picture.
        tracks, lander: whether wheel tracks of an earlier drive, and a lander, are there.
        truth: whether frames carry their truth.
        dem: file of an elevation model to descend on; empty for procedural ground.
        catalogue: file of the craters that are known there; empty for none.
        metres_per_px, zero_m, west_deg, north_deg: of the model; see `dem.read_elevation`. 0 and
            None take them from the file.
    """

    world: str = "moon"
    view: str = "descent"
    terrain: str = "highland"
    seed: int = 7
    width: int = 640
    height: int = 480
    frames: int = 150
    fps: float = 10.0
    speed_m_s: float = 0.6
    field_of_view_deg: float = 60.0
    tilt_deg: float = 0.0
    sun_elevation_deg: float = 28.0
    sun_azimuth_deg: float = 180.0
    sensor: str = "typical"
    hardware: bool = True
    tracks: bool = True
    lander: bool = True
    truth: bool = True
    dem: str = ""
    catalogue: str = ""
    metres_per_px: float = 0.0
    zero_m: float = 0.0
    west_deg: float | None = None
    north_deg: float | None = None


class Simulator(ABC):
    """Gives the frames of a scenario, in any order."""

    @abstractmethod
    def frame(self, index: int) -> tuple[NDArray[np.uint8], Truth | None]:
        """Return a frame's pixels, and what it shows where the scenario wants that."""

    @abstractmethod
    def vehicle(self, index: int) -> Vehicle:
        """Return what the vehicle knows about a frame."""


def open_simulator(scenario: Scenario) -> Simulator:
    """Build a scenario's world."""
    if scenario.view == "rover":
        return _RoverSimulator(scenario)
    if scenario.view == "tour":
        return _Tour(scenario)
    return _DescentSimulator(scenario)


def _orbital_scene(s: Scenario) -> Scene:
    if not s.dem:
        return build_scene(
            s.seed,
            sun_elevation_deg=s.sun_elevation_deg,
            sun_azimuth_deg=s.sun_azimuth_deg,
            ground="mare" if s.terrain == "mare" else "highland",
        )
    elevation = read_elevation(
        Path(s.dem),
        metres_per_px=s.metres_per_px or None,
        zero_m=s.zero_m,
        west_deg=s.west_deg,
        north_deg=s.north_deg,
    )
    known = read_catalogue(Path(s.catalogue)) if s.catalogue else np.zeros((0, 3))
    return build_dem_scene(
        elevation,
        known,
        s.seed,
        sun_elevation_deg=s.sun_elevation_deg,
        sun_azimuth_deg=s.sun_azimuth_deg,
    )


class _DescentSimulator(Simulator):
    def __init__(self, scenario: Scenario) -> None:
        scene = _orbital_scene(scenario)
        self._descent = Descent(
            scene,
            scenario.seed,
            scenario.width,
            scenario.height,
            scenario.frames,
            tilt_deg=scenario.tilt_deg,
            sensor=GRADES[scenario.sensor],
        )
        self._truth, self._world = scenario.truth, scenario.world

    def frame(self, index: int) -> tuple[NDArray[np.uint8], Truth | None]:
        pixels, truth = self._descent.frame(index)
        if self._world == "mars":
            pixels = tinted(pixels)
        return pixels, truth if self._truth else None

    def vehicle(self, index: int) -> Vehicle:
        pose, scene = self._descent.pose(index), self._descent.scene
        return Vehicle(
            sun_azimuth_deg=(scene.sun_azimuth_deg - pose.heading_deg) % 360,
            sun_elevation_deg=scene.sun_elevation_deg,
            pose=asdict(pose),
        )


class _RoverSimulator(Simulator):
    def __init__(self, scenario: Scenario) -> None:
        s = self._scenario = scenario
        self._ground = build_ground(
            s.seed,
            world=s.world,
            terrain=s.terrain,
            sun_azimuth_deg=s.sun_azimuth_deg,
            sun_elevation_deg=s.sun_elevation_deg,
            with_tracks=s.tracks,
            with_lander=s.lander,
        )
        distortion = (-0.06, 0.01, 2e-4, -2e-4, 0.0) if s.sensor != "clean" else (0.0,) * 5
        self._lens = Lens(s.width, s.height, s.field_of_view_deg, distortion)
        self._camera = RoverCamera(self._ground, self._lens, s.seed)
        self._sensor = Sensor(GRADES[s.sensor], s.width, s.height, s.seed)
        self._drive = Drive(self._ground, self._ground.loop)

    def frame(self, index: int) -> tuple[NDArray[np.uint8], Truth | None]:
        s = self._scenario
        driven = index * s.speed_m_s / s.fps
        view = self._drive.view(driven)
        own = self._drive.rover(driven) if s.hardware else None
        seen = self._camera.render(view, own)
        # The picture turns with the rover while the shutter is open.
        later = self._drive.view(driven + s.speed_m_s * _EXPOSURE_S)
        turned = math.radians((later.yaw_deg - view.yaw_deg + 180) % 360 - 180)
        tilted = math.radians(later.pitch_deg - view.pitch_deg)
        motion = (-turned * self._lens.focal_px, -tilted * self._lens.focal_px)
        pixels = self._sensor.expose(seen.radiance, index, motion)
        truth = surface_truth(self._ground, self._lens, view, seen) if s.truth else None
        return pixels, truth

    def vehicle(self, index: int) -> Vehicle:
        s = self._scenario
        view = self._drive.view(index * s.speed_m_s / s.fps)
        return Vehicle(
            # The right of the picture is a quarter turn on from the line of sight.
            sun_azimuth_deg=(s.sun_azimuth_deg - view.yaw_deg - 90) % 360,
            sun_elevation_deg=s.sun_elevation_deg,
            exposure_ms=_EXPOSURE_S * 1e3,
            pose=asdict(view),
        )


class _Tour(Simulator):
    """A drive, then a descent."""

    def __init__(self, scenario: Scenario) -> None:
        self._turn = scenario.frames // 2
        drive = replace(scenario, view="rover", frames=max(1, self._turn))
        descent = replace(scenario, view="descent", frames=scenario.frames - self._turn)
        self._drive, self._descent = _RoverSimulator(drive), _DescentSimulator(descent)

    def frame(self, index: int) -> tuple[NDArray[np.uint8], Truth | None]:
        if index < self._turn:
            return self._drive.frame(index)
        return self._descent.frame(index - self._turn)

    def vehicle(self, index: int) -> Vehicle:
        if index < self._turn:
            return self._drive.vehicle(index)
        return self._descent.vehicle(index - self._turn)
