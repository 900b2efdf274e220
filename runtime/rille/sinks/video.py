"""`video://FILE.mp4`: the frames with their results drawn in, MPEG-4 part 2.

Plays in VLC, mpv, ffplay and most desktop players; browsers do not decode MPEG-4 part 2, and the
OpenCV wheels carry no H.264 encoder.
"""

from __future__ import annotations

from pathlib import Path

import cv2

from rille.draw import annotate, canvas_size
from rille.errors import SinkError
from rille.result import Result


class AnnotatedVideo:
    """Encodes annotated frames of published results; the file appears under its name when whole.

    The encoder reports no write errors, so the finished file is opened again and its frames
    counted before it gets its name.

    Args:
        path: the file; an earlier one is replaced in the end.
        fps: frames a second when played.
    """

    def __init__(self, path: Path, fps: float = 10.0) -> None:
        self._path = path
        self._partial = path.with_name(f"{path.stem}.partial{path.suffix}")
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._frames = 0

    def write(self, result: Result) -> None:
        """Draw and encode one published result; others are left out.

        Raises:
            SinkError: the encoder cannot be opened.
        """
        if not result.published or result.frame is None:
            return
        if self._writer is None:
            self._size = canvas_size(result.frame.width, result.frame.height)
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(
                str(self._partial), cv2.CAP_FFMPEG, code, self._fps, self._size
            )
            if not self._writer.isOpened():
                self._partial.unlink(missing_ok=True)
                raise SinkError(
                    f"{self._path}: no video can be written there (full or read-only disk, or an "
                    "OpenCV without FFmpeg); --set output.video=false leaves it out"
                )
        picture = annotate(result, self._size)
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
