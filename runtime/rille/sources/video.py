"""`file://VIDEO`: a video file, decoded by OpenCV.

Options: `fps` (play in real time at that rate), `limit` (stop after so many frames), `sidecar` (a
file beside it with what the vehicle knew; see `rille.sources.sidecar`), and `vehicle` of every
source.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from rille.capture import VEHICLE
from rille.errors import FrameDecodeError, SourceError, SourceNotFoundError
from rille.images import MAX_PIXELS
from rille.sources.base import Source
from rille.sources.sidecar import sidecar_of
from rille.uri import SourceUri

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rille.frame import Truth
    from rille.sources.sidecar import Sidecar
    from rille.vehicle import Vehicle


class VideoFile(Source):
    """The frames of a video file, in order."""

    def __init__(self, uri: SourceUri) -> None:
        uri.check_options(["fps", "limit", "sidecar", *VEHICLE])
        super().__init__(uri, uri.number("fps", None, 0.01, 1000))
        self._path = Path(uri.target)
        limit = uri.number("limit", None, 1, 1e9)
        self._limit = None if limit is None else int(limit)
        self._asked = uri.options.get("sidecar")
        self._sidecar: Sidecar | None = None
        self._video: cv2.VideoCapture | None = None
        self._count: int | None = None

    def open(self) -> None:
        """Open the file and read its header.

        Raises:
            SourceNotFoundError: no such file.
            SourceError: not a video that can be decoded, or one with too many pixels.
        """
        if not self._path.is_file():
            raise SourceNotFoundError(f"{self._path}: no such video file")
        if self._asked is not None:
            self._sidecar = sidecar_of(self._path.parent, self._asked)
        # A path with a scheme in it must stay a path: FFmpeg would open "concat:..." otherwise.
        video = cv2.VideoCapture(str(self._path.resolve()), cv2.CAP_FFMPEG)
        if not video.isOpened():
            raise SourceError(f"{self._path}: not a video that can be decoded")
        self._size = (
            int(video.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )
        if self._size[0] * self._size[1] > MAX_PIXELS:
            video.release()
            raise SourceError(f"{self._path}: more than {MAX_PIXELS:,} pixels a frame, refused")
        count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        self._count = count if count > 0 else None
        self._video = video

    @property
    def length(self) -> int | None:
        """Number of frames that the header states, if it does."""
        if self._count is None:
            return self._limit
        return min(self._count, self._limit or self._count)

    def describe(self) -> str:
        """Return name, size, count and pace."""
        pace = f"{self.fps:g} frames/s" if self.fps else "one after the other"
        return (
            f"{self._path}, {self._size[0]} x {self._size[1]}, {self._count or '?'} frames, {pace}"
        )

    def _next(self) -> tuple[NDArray[np.uint8], str, int | None, Truth | None] | None:
        if self._video is None or (self._limit is not None and self.index >= self._limit):
            return None
        try:
            good, picture = self._video.read()
        except cv2.error as wrong:
            raise FrameDecodeError(f"{self._path}: frame {self.index}: {wrong}") from None
        if not good:
            return None
        at_ns = round(self._video.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        pixels = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        return pixels, f"{self._path.name} {self.index}", at_ns, None  # type: ignore[return-value]

    def _own_vehicle(self, index: int, name: str) -> Vehicle | None:
        return self._sidecar.of(index, name) if self._sidecar is not None else None

    def close(self) -> None:
        """Release the decoder."""
        if self._video is not None:
            self._video.release()
            self._video = None
        super().close()
