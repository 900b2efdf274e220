"""`mcap://FILE`: frames, results, masks, annotations and events in one file.

Options: `jpeg=85` (small lossy frames: the run then replays with a tolerance, not exactly),
`pixels=0` (no frames at all).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rille.recording.write import RecordingWriter
from rille.uri import split_uri

if TYPE_CHECKING:
    from rille.events import Event
    from rille.recording.facts import RunFacts
    from rille.result import Result


class RecordingSink:
    """Records a run; see `rille.sinks.Sink` and `rille.recording`.

    Args:
        target: the file, with options after "?"; an earlier file is replaced.

    Raises:
        ConfigError: an option that is unknown or out of range, or the extra is not installed.
        SinkError: the file cannot be written.
    """

    def __init__(self, target: Path) -> None:
        uri = split_uri(f"mcap://{target}")
        uri.check_options(["jpeg", "pixels"])
        quality = uri.number("jpeg", None, 1, 100)
        self._writer = RecordingWriter(
            Path(uri.target),
            jpeg=None if quality is None else int(quality),
            pixels=uri.flag("pixels", True),
        )

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
