"""`mcap://FILE`: frames, results, masks, annotations and events in one file.

Options: `jpeg=85` (small lossy frames: the run then replays with a tolerance, not exactly),
`pixels=0` (no frames at all).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rille.recording.write import RecordingWriter
from rille.sinks.base import Sink

if TYPE_CHECKING:
    from typing_extensions import Self

    from rille.events import Event
    from rille.recording.facts import RunFacts
    from rille.result import Result
    from rille.uri import SourceUri


class RecordingSink(Sink):
    """Records a run; see `rille.recording`.

    Args:
        path: the file; an earlier one is replaced.
        jpeg: quality of the frames, 1 to 100; None for PNG.
        pixels: whether frames are recorded at all.

    Raises:
        ConfigError: the extra is not installed.
        SinkError: the file cannot be written.
    """

    def __init__(self, path: Path, *, jpeg: int | None = None, pixels: bool = True) -> None:
        self._writer = RecordingWriter(path, jpeg=jpeg, pixels=pixels)

    @classmethod
    def from_uri(cls, uri: SourceUri) -> Self:
        """Make one from its URI; see `Sink.from_uri`."""
        uri.check_options(["jpeg", "pixels"])
        quality = uri.number("jpeg", None, 1, 100)
        jpeg = None if quality is None else int(quality)
        return cls(Path(uri.target), jpeg=jpeg, pixels=uri.flag("pixels", True))

    def about(self, facts: RunFacts) -> None:
        """Keep what is known of the run; see `RecordingWriter.about`."""
        self._writer.about(facts)

    def write(self, result: Result) -> None:
        """Keep one result; see `RecordingWriter.write`."""
        self._writer.write(result)

    def event(self, event: Event) -> None:
        """Keep one event; see `RecordingWriter.event`."""
        self._writer.event(event)

    def close(self) -> None:
        """Complete the file; see `RecordingWriter.close`."""
        self._writer.close()
