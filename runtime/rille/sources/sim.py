"""`sim://moon`: a simulated camera coming down over the Moon.

Options: `seed`, `fps`, `size`, `frames`, `view` (descent), `sun_elevation_deg`, `sun_azimuth_deg`,
`realtime` (0: give frames whenever they are asked for).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rille.errors import ConfigError, SourceNotFoundError, nearest
from rille.sources.base import Source, SourceUri

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rille.frame import Truth
    from rille.sim import Descent

_WORLDS, _VIEWS = ["moon"], ["descent"]
_OPTIONS = [
    "seed",
    "fps",
    "size",
    "frames",
    "view",
    "sun_elevation_deg",
    "sun_azimuth_deg",
    "realtime",
]


class SimulatedCamera(Source):
    """A descent over a procedural lunar highland; see `rille.sim`."""

    def __init__(self, uri: SourceUri) -> None:
        uri.check_options(_OPTIONS)
        fps = uri.number("fps", 10.0, 0.1, 1000)
        super().__init__(uri, fps if uri.flag("realtime", True) else None)
        if uri.target not in _WORLDS:
            raise SourceNotFoundError(
                f"{uri.text}: no world {uri.target!r}{nearest(uri.target, _WORLDS)} "
                f"(known: {', '.join(_WORLDS)})"
            )
        view = uri.options.get("view", "descent")
        if view not in _VIEWS:
            raise ConfigError(
                f"{uri.text}: no view {view!r}{nearest(view, _VIEWS)} (known: {', '.join(_VIEWS)})"
            )
        self._seed = int(uri.number("seed", 7, 0, 2**53) or 0)
        self._frames = int(uri.number("frames", 150, 1, 1e9) or 1)
        self._size = uri.size((640, 480))
        self._elevation = float(uri.number("sun_elevation_deg", 28.0, 1.5, 80) or 28.0)
        self._azimuth = float(uri.number("sun_azimuth_deg", 180.0, -360, 360) or 0.0)
        self._descent: Descent | None = None

    def open(self) -> None:
        """Build the scene."""
        from rille.sim import Descent, build_scene

        scene = build_scene(
            self._seed, sun_elevation_deg=self._elevation, sun_azimuth_deg=self._azimuth
        )
        self._descent = Descent(scene, self._seed, *self._size, self._frames)

    @property
    def length(self) -> int | None:
        """Number of frames of the descent."""
        return self._frames

    def describe(self) -> str:
        """Return world, size, pace and seed."""
        pace = f"{self.fps:g} frames/s" if self.fps else "one after the other"
        return (
            f"simulated lunar descent, {self._size[0]} x {self._size[1]}, "
            f"{self._frames} frames, {pace}, seed {self._seed}"
        )

    def _next(self) -> tuple[NDArray[np.uint8], str, int | None, Truth | None] | None:
        if self._descent is None or self.index >= self._frames:
            return None
        pixels, truth = self._descent.frame(self.index)
        return pixels, f"sim {self.index}", None, truth

    def close(self) -> None:
        """Let go of the scene."""
        self._descent = None
