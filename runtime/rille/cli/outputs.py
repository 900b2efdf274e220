"""The sinks of `rille run`: opened before the first frame, and what is said of them at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rille.sinks import open_sink
from rille.sinks.account import CountedSink
from rille.sinks.console import Console
from rille.sinks.fan import SinkFan
from rille.sinks.jsonl import JsonLines
from rille.sinks.video import AnnotatedVideo

if TYPE_CHECKING:
    from rille.config import RunConfig
    from rille.events import EventLog
    from rille.health.beats import Heartbeats
    from rille.pipeline import Pipeline
    from rille.recording.facts import RunFacts
    from rille.report import RunRecord
    from rille.sources import Source


def add_sinks(
    fan: SinkFan,
    config: RunConfig,
    folder: Path,
    source: Source,
    pipeline: Pipeline,
    record: RunRecord,
    beats: Heartbeats,
    facts: RunFacts,
    recording: str = "",
    label: str = "",
) -> None:
    """Open every sink of a run: those named by URI first, since opening them may be refused.

    The run cannot do without results.jsonl, the video and the `recording` where they are asked for;
    it goes on when another sink fails. Each is told the `facts` of the run. The `label` stands
    before what the console shows.

    Raises:
        ConfigError: a URI that is no sink's.
        SinkError: one cannot be opened.
    """
    for uri in (*config.output.sinks, *filter(None, [recording])):
        sink = open_sink(uri)
        sink.about(facts)
        fan.add(sink, uri, required=uri == recording)
    if config.output.jsonl:
        lines = CountedSink(beats, JsonLines(folder / "results.jsonl"))
        fan.add(lines, "results.jsonl", required=True)
    else:
        fan.add(CountedSink(beats), "account")
    if config.output.video:
        # A folder of photographs is shown at a pace the eye can follow.
        video = AnnotatedVideo(folder / "annotated.mp4", source.fps or 4.0)
        fan.add(video, "annotated.mp4", required=True)
    if config.output.report:
        fan.add(record, "report.html")
    fan.add(Console(pipeline.stats, source.length, label=label), "console")


def sink_notes(fan: SinkFan, events: EventLog) -> list[str]:
    """Return a line about each sink that lost something or failed."""
    reasons = {e.values["sink"]: e.text for e in events.recent if e.id == "SINK_FAILED"}
    return [
        f"sink {name}: {counts}" + (f" ({reasons[name]})" if name in reasons else "")
        for name, counts in fan.counts().items()
        if name in reasons or not counts.whole
    ]
