"""`images://FOLDER`: the images of a folder, by name.

Options: `fps` (play in real time), `loop=1` (start again at the end), `limit` (stop after so many).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rille.images import list_images, read_image
from rille.sources.base import Source
from rille.uri import SourceUri

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rille.frame import Truth


class ImageFolder(Source):
    """The images of one folder, sorted by name; a damaged one fails as one frame."""

    def __init__(self, uri: SourceUri) -> None:
        uri.check_options(["fps", "loop", "limit"])
        super().__init__(uri, uri.number("fps", None, 0.01, 1000))
        self._folder = Path(uri.target)
        self._loop = uri.flag("loop", False)
        limit = uri.number("limit", None, 1, 1e9)
        self._limit = None if limit is None else int(limit)
        self._paths: list[Path] = []

    def open(self) -> None:
        """List the folder."""
        self._paths = list_images(self._folder)

    @property
    def length(self) -> int | None:
        """Number of frames in all; None for an endless loop."""
        if self._loop:
            return self._limit
        return min(len(self._paths), self._limit or len(self._paths))

    def describe(self) -> str:
        """Return folder, count and pace."""
        pace = f"{self.fps:g} frames/s" if self.fps else "one after the other"
        return f"{len(self._paths)} images in {self._folder}, {pace}"

    def _next(self) -> tuple[NDArray[np.uint8], str, int | None, Truth | None] | None:
        if self.length is not None and self.index >= self.length:
            return None
        path = self._paths[self.index % len(self._paths)]
        return read_image(path), path.name, None, None
