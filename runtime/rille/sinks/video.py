"""`video://FILE.mp4`: the frames with their results drawn in."""

from __future__ import annotations

from pathlib import Path

from rille.draw import annotate, canvas_size
from rille.movie import MovieWriter
from rille.result import Result


class AnnotatedVideo:
    """Encodes annotated frames of published results; see `rille.movie`.

    Args:
        path: the file; an earlier one is replaced in the end.
        fps: frames a second when played.
    """

    def __init__(self, path: Path, fps: float = 10.0) -> None:
        self._movie = MovieWriter(path, fps, "; --set output.video=false leaves it out")
        self._size: tuple[int, int] | None = None

    def write(self, result: Result) -> None:
        """Draw and encode one published result; others are left out.

        Raises:
            SinkError: the encoder cannot be opened.
        """
        if not result.published or result.frame is None:
            return
        self._size = self._size or canvas_size(result.frame.width, result.frame.height)
        self._movie.write(annotate(result, self._size))

    def close(self) -> None:
        """Complete the file.

        Raises:
            SinkError: the file came out damaged, which a full disk causes; it is removed.
        """
        self._movie.close()
