"""`images://FOLDER`: the images of a folder, by name.

Options: `fps` (play in real time), `loop=1` (start again at the end), `limit` (stop after so many),
`sidecar` (a file there with what the vehicle knew; `vehicle.jsonl` is read unasked; see
`rille.sources.sidecar`), and `vehicle` of every source.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rille.capture import VEHICLE
from rille.images import list_images, read_image
from rille.sources.base import Source
from rille.sources.sidecar import sidecar_of
from rille.uri import SourceUri

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rille.frame import Truth
    from rille.sources.sidecar import Sidecar
    from rille.vehicle import Vehicle


class ImageFolder(Source):
    """The images of one folder, sorted by name; a damaged one fails as one frame."""

    def __init__(self, uri: SourceUri) -> None:
        uri.check_options(["fps", "loop", "limit", "sidecar", *VEHICLE])
        super().__init__(uri, uri.number("fps", None, 0.01, 1000))
        self._folder = Path(uri.target)
        self._loop = uri.flag("loop", False)
        limit = uri.number("limit", None, 1, 1e9)
        self._limit = None if limit is None else int(limit)
        self._paths: list[Path] = []
        self._asked = uri.options.get("sidecar")
        self._sidecar: Sidecar | None = None

    def open(self) -> None:
        """List the folder, and read the sidecar if there is one."""
        self._paths = list_images(self._folder)
        self._sidecar = sidecar_of(self._folder, self._asked)

    @property
    def length(self) -> int | None:
        """Number of frames in all; None for an endless loop."""
        if self._loop:
            return self._limit
        return min(len(self._paths), self._limit or len(self._paths))

    def describe(self) -> str:
        """Return folder, count and pace."""
        pace = f"{self.fps:g} frames/s" if self.fps else "one after the other"
        known = f", {len(self._sidecar)} lines of a sidecar" if self._sidecar is not None else ""
        return f"{len(self._paths)} images in {self._folder}, {pace}{known}"

    def _own_vehicle(self, index: int, name: str) -> Vehicle | None:
        if self._sidecar is None:
            return None
        return self._sidecar.of(index % len(self._paths), name)

    def _next(self) -> tuple[NDArray[np.uint8], str, int | None, Truth | None] | None:
        if self.length is not None and self.index >= self.length:
            return None
        path = self._paths[self.index % len(self._paths)]
        return read_image(path), path.name, None, None
