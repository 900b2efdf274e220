"""Writing a video file: MPEG-4 part 2, whole or not at all.

It plays in VLC, mpv, ffplay and most desktop players; browsers do not decode MPEG-4 part 2, and the
OpenCV wheels carry no H.264 encoder.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from rille.errors import SinkError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class MovieWriter:
    """Encodes pictures; the file appears under its name when it is whole.

    The encoder reports no write errors, so the finished file is opened again and its frames
    counted before it gets its name.

    Args:
        path: the file; an earlier one is replaced in the end.
        fps: frames a second when played.
        way_out: what to do instead, for the error's text.
    """

    def __init__(self, path: Path, fps: float, way_out: str = "") -> None:
        self._path = path
        self._partial = path.with_name(f"{path.stem}.partial{path.suffix}")
        self._fps, self._way_out = fps, way_out
        self._writer: cv2.VideoWriter | None = None
        self._frames = 0

    def write(self, picture: NDArray[np.uint8]) -> None:
        """Encode one picture, (H, W, 3) RGB, both sides even; all of one size.

        Raises:
            SinkError: the encoder cannot be opened.
        """
        if self._writer is None:
            size = picture.shape[1], picture.shape[0]
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(
                str(self._partial), cv2.CAP_FFMPEG, code, self._fps, size
            )
            if not self._writer.isOpened():
                self._partial.unlink(missing_ok=True)
                raise SinkError(
                    f"{self._path}: no video can be written there (no such folder, full or "
                    f"read-only disk, or an OpenCV without FFmpeg){self._way_out}"
                )
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def close(self) -> None:
        """Complete the file.

        Raises:
            SinkError: the file came out damaged, which a full disk causes; it is removed.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        check = cv2.VideoCapture(str(self._partial), cv2.CAP_FFMPEG)
        found = int(check.get(cv2.CAP_PROP_FRAME_COUNT)) if check.isOpened() else 0
        check.release()
        if found != self._frames:
            self._partial.unlink(missing_ok=True)
            raise SinkError(
                f"{self._path}: the video came out with {found} of {self._frames} frames and was "
                "removed; is the disk full?"
            )
        self._partial.replace(self._path)
