"""`sim://moon` and `sim://mars`: a simulated camera on a rover, or coming down from orbit.

Options: `view` (descent, rover, or tour: a drive, then a descent), `terrain` (mare, crater-field,
boulder-field, highland), `seed`, `fps`, `size`, `frames`, `sun_elevation_deg`, `sun_azimuth_deg`,
`speed_m_s` and `fov_deg` (rover), `tilt_deg` (descent: away from straight down), `sensor` (clean,
typical, stressed), `hardware` (0: without the rover's own deck and shadow), `truth` (1: frames
carry what they show), `vehicle` (0: frames do not carry what the vehicle knows), `realtime` (0:
give frames whenever they are asked for). In real time a process of its own renders.

`terrain=dem` descends on a real elevation model: `path`, `metres_per_px`, `zero_m`, `west_deg`,
`north_deg`, and a crater `catalogue` whose craters are the truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rille.capture import VEHICLE
from rille.errors import ConfigError, SourceNotFoundError, nearest
from rille.sources.base import Source
from rille.uri import SourceUri

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rille.frame import Truth
    from rille.sim.scenario import Scenario, Simulator
    from rille.sim.server import RenderProcess
    from rille.vehicle import Vehicle

OPTIONS = (
    "view",
    "terrain",
    "seed",
    "fps",
    "size",
    "frames",
    "sun_elevation_deg",
    "sun_azimuth_deg",
    "speed_m_s",
    "fov_deg",
    "tilt_deg",
    "sensor",
    "hardware",
    "tracks",
    "lander",
    "truth",
    "realtime",
    *VEHICLE,
    "path",
    "catalogue",
    "metres_per_px",
    "zero_m",
    "west_deg",
    "north_deg",
)
_DEM_OPTIONS = OPTIONS[OPTIONS.index("path") :]
_SUN = {"descent": (28.0, 180.0), "rover": (16.0, 130.0), "tour": (20.0, 160.0)}
_TERRAIN = {"descent": "highland", "rover": "crater-field", "tour": "crater-field"}
_FPS, _FRAMES = 10.0, 150
_MOST_PX = 2**24


def scenario_of(uri: SourceUri) -> Scenario:
    """Return what a simulator's URI asks for.

    Raises:
        SourceNotFoundError: no such world.
        ConfigError: an option that is unknown or out of range.
    """
    from rille.sim.ground import TERRAINS
    from rille.sim.scenario import VIEWS, WORLDS, Scenario
    from rille.sim.sensor import GRADES

    uri.check_options(list(OPTIONS))
    if uri.target not in WORLDS:
        raise SourceNotFoundError(
            f"{uri.text}: no world {uri.target!r}{nearest(uri.target, list(WORLDS))} "
            f"(known: {', '.join(WORLDS)})"
        )
    view = _choice(uri, "view", "descent", list(VIEWS))
    width, height = uri.size((640, 480))
    if width * height > _MOST_PX:
        raise ConfigError(f"{uri.text}: size must be at most {_MOST_PX >> 20} megapixels")
    elevation, azimuth = _SUN[view]
    return Scenario(
        world=uri.target,
        view=view,
        terrain=_choice(uri, "terrain", _TERRAIN[view], [*TERRAINS[uri.target], "dem"]),
        seed=int(uri.number("seed", 7, 0, 2**53) or 0),
        width=width,
        height=height,
        frames=int(uri.number("frames", _FRAMES, 1, 1e9) or 1),
        fps=uri.number("fps", _FPS, 0.1, 1000) or _FPS,
        speed_m_s=uri.number("speed_m_s", 0.6, 0, 10) or 0.0,
        field_of_view_deg=uri.number("fov_deg", 60.0, 20, 100) or 60.0,
        tilt_deg=uri.number("tilt_deg", 0.0, 0, 45) or 0.0,
        sun_elevation_deg=uri.number("sun_elevation_deg", elevation, 1.5, 80) or elevation,
        sun_azimuth_deg=uri.number("sun_azimuth_deg", azimuth, -360, 360) or 0.0,
        sensor=_choice(uri, "sensor", "typical", list(GRADES)),
        hardware=uri.flag("hardware", True),
        tracks=uri.flag("tracks", True),
        lander=uri.flag("lander", True),
        truth=uri.flag("truth", not uri.flag("realtime", True)),
        **_elevation_model(uri, view),
    )


def _elevation_model(uri: SourceUri, view: str) -> dict[str, Any]:
    """Return the options of `terrain=dem`, which no other terrain takes."""
    given = [key for key in _DEM_OPTIONS if key in uri.options]
    if uri.options.get("terrain") != "dem":
        if given:
            raise ConfigError(f"{uri.text}: {given[0]} needs terrain=dem")
        return {}
    if view != "descent" or uri.target != "moon":
        raise ConfigError(f"{uri.text}: terrain=dem is for sim://moon?view=descent")
    if "path" not in uri.options:
        raise ConfigError(f"{uri.text}: terrain=dem needs path=FILE, an elevation model")
    return {
        "dem": uri.options["path"],
        "catalogue": uri.options.get("catalogue", ""),
        "metres_per_px": uri.number("metres_per_px", 0.0, 0.01, 1e5) or 0.0,
        "zero_m": uri.number("zero_m", 0.0, -1e5, 1e5) or 0.0,
        "west_deg": uri.number("west_deg", None, -360, 360),
        "north_deg": uri.number("north_deg", None, -90, 90),
    }


def _choice(uri: SourceUri, key: str, default: str, known: list[str]) -> str:
    value = uri.options.get(key, default)
    if value not in known:
        raise ConfigError(
            f"{uri.text}: no {key} {value!r}{nearest(value, known)} (known: {', '.join(known)})"
        )
    return value


class SimulatedCamera(Source):
    """A drive or a descent over a procedural world; see `rille.sim`."""

    def __init__(self, uri: SourceUri) -> None:
        self.scenario = scenario_of(uri)
        super().__init__(uri, self.scenario.fps if uri.flag("realtime", True) else None)
        self._process: RenderProcess | None = None
        self._simulator: Simulator | None = None
        self._knows: Vehicle | None = None

    def open(self) -> None:
        """Start rendering."""
        if self.realtime:
            from rille.sim.server import RenderProcess

            self._process = RenderProcess(self.scenario)
        else:
            from rille.sim.scenario import open_simulator

            self._simulator = open_simulator(self.scenario)

    @property
    def length(self) -> int | None:
        """Number of frames of the drive or descent."""
        return self.scenario.frames

    def describe(self) -> str:
        """Return world, view, size, pace and seed."""
        s = self.scenario
        pace = f"{self.fps:g} frames/s" if self.fps else "one after the other"
        world = {"moon": "lunar", "mars": "Martian"}[s.world]
        way = {"descent": "descent", "rover": "rover drive", "tour": "drive and descent"}[s.view]
        size = f"{s.width} x {s.height}, {s.frames} frames"
        return f"simulated {world} {way}, {s.terrain}, {size}, {pace}, seed {s.seed}"

    def _next(self) -> tuple[NDArray[np.uint8], str, int | None, Truth | None] | None:
        if self.index >= self.scenario.frames:
            return None
        if self._process is not None:
            pixels, truth, self._knows = self._process.next()
        elif self._simulator is not None:
            pixels, truth = self._simulator.frame(self.index)
            self._knows = self._simulator.vehicle(self.index)
        else:
            return None
        return pixels, f"sim {self.index}", None, truth

    def _own_vehicle(self, index: int, name: str) -> Vehicle | None:
        return self._knows

    def close(self) -> None:
        """Stop rendering."""
        if self._process is not None:
            self._process.close()
        self._process = self._simulator = None
        super().close()
