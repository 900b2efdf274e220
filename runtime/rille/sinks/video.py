"""`video://FILE.mp4?fps=10`: the frames with their results drawn in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rille.draw import annotate, canvas_size
from rille.movie import MovieWriter
from rille.sinks.base import Sink

if TYPE_CHECKING:
    from typing_extensions import Self

    from rille.result import Result
    from rille.uri import SourceUri


class AnnotatedVideo(Sink):
    """Encodes annotated frames of published results; see `rille.movie`.

    Args:
        path: the file; an earlier one is replaced in the end.
        fps: frames a second when played.
    """

    def __init__(self, path: Path, fps: float = 10.0) -> None:
        self._movie = MovieWriter(path, fps, "; --set output.video=false leaves it out")
        self._size: tuple[int, int] | None = None

    @classmethod
    def from_uri(cls, uri: SourceUri) -> Self:
        """Make one from its URI; see `Sink.from_uri`."""
        uri.check_options(["fps"])
        return cls(Path(uri.target), uri.number("fps", 10.0, 0.1, 1000) or 10.0)

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
