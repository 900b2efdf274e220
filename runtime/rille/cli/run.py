"""`rille run`: the main job."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import rille
from rille.cli.facts import run_facts, versions
from rille.cli.outputs import add_sinks, sink_notes
from rille.cli.reload import find_bundle, load_network, reload_on_hangup
from rille.cli.run_options import read_run_options
from rille.cli.supervision import supervision
from rille.config import NETWORKS, RunConfig, read_config
from rille.errors import RilleError, SinkError, SourceError
from rille.events import EventLog
from rille.files import sink_error, write_whole
from rille.health.beats import Heartbeats
from rille.pipeline import Pipeline
from rille.plan import plan_for
from rille.report import RunRecord, write_report
from rille.sinks.fan import SinkFan
from rille.sources import Source, open_source
from rille.sources.follow import SourceFollower
from rille.sources.watched import WatchedSource
from rille.strain_watch import StrainWatch


def main(arguments: list[str]) -> int:
    """Run `rille run`; see `rille run --help`."""
    options = read_run_options(arguments)
    return run(read_config(options.config, options.settings))


def run(config: RunConfig, recording: str = "") -> int:
    """Stream frames as the configuration says; return the exit code.

    Args:
        config: the run.
        recording: URI of one more sink, which the run cannot do without; empty for none.

    Raises:
        RilleError: what ended the run; what it wrote until then is there.
    """
    folder = Path(config.output.folder)
    _make_folder(folder)
    events = EventLog()
    with contextlib.ExitStack() as stack:
        beats = stack.enter_context(supervision())
        # A source that starts a process of its own does so while the networks are loaded.
        source = stack.enter_context(open_source(config.source.uri))
        strain = stack.enter_context(StrainWatch(events, max_watt=config.budget.max_watt or None))
        pipeline = stack.enter_context(build_pipeline(config, events, strain))
        print(f"{source.describe()}; budget {config.budget.frame_ms:g} ms", file=sys.stderr)
        record = RunRecord()
        # Frames that are read on demand wait for the sinks; those of a camera never do.
        fan = SinkFan(events, lossless=not source.realtime)
        stack.callback(fan.close)
        interrupted = stack.enter_context(_signals(pipeline, fan))
        stack.enter_context(reload_on_hangup(config, pipeline, beats.supervised))
        facts = run_facts(config, pipeline, source)
        add_sinks(fan, config, folder, source, pipeline, record, beats, facts, recording)
        beats.run()
        problem = _stream(pipeline, source, fan, beats, config.output.limit)
        beats.finish()
        try:
            _complete(folder, config, pipeline, source, record, fan, events)
        except RilleError as wrong:
            problem = problem or wrong
    _conclude(pipeline, source, folder, problem, sink_notes(fan, events))
    if problem is not None:
        raise problem
    totals = pipeline.stats.totals
    if totals.failed and totals.failed == totals.captured:
        plural = "s" if totals.captured > 1 else ""
        raise SourceError(
            f"{config.source.uri}: none of {totals.captured} frame{plural} could be used"
        )
    return 130 if interrupted == [signal.SIGINT] else 0


def _complete(
    folder: Path,
    config: RunConfig,
    pipeline: Pipeline,
    source: Source,
    record: RunRecord,
    fan: SinkFan,
    events: EventLog,
) -> None:
    """Write what is known only at the end: configuration, summary and report."""
    write_whole(folder / "run.toml", config.to_toml())
    watch = pipeline.watch
    summary = {
        "source": source.uri.text,
        **pipeline.stats.to_json(),
        "source_events": [asdict(event) for event in source.events],
        "golden_checks": watch.checks,
        "rebuilt": [asdict(rebuild) for rebuild in watch.rebuilds],
        "events": dict(events.counts),
        "sinks": {name: counts.to_json() for name, counts in fan.counts().items()},
    }
    if source.feed is not None:
        summary["vehicle_feed"] = {"heard": source.feed.heard, "ignored": source.feed.ignored}
    write_whole(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    if config.output.report:
        write_report(
            folder / "report.html",
            source=source.describe(),
            stats=pipeline.stats,
            record=record,
            config=config.to_toml(),
            versions=versions(pipeline),
        )


def _make_folder(folder: Path) -> None:
    """Make the output folder and see that it takes a file, before any frame is captured."""
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"rille")
        probe.unlink()
    except FileExistsError:
        raise SinkError(f"{folder}: is a file, not a folder; choose another --out") from None
    except OSError as wrong:
        raise sink_error(folder, wrong) from None


def build_pipeline(
    config: RunConfig, events: EventLog | None = None, strain: StrainWatch | None = None
) -> Pipeline:
    """Load the networks that a configuration names; see `Pipeline`."""
    stages = {"classify": config.classify, "segment": config.segment, "lighter": config.lighter}
    bundles = {name: find_bundle(config, stage) for name, stage in stages.items() if stage.bundle}
    plan = plan_for(
        bundles,
        backend=config.engine.backend,
        threads=config.engine.threads or None,
        parallel=NETWORKS[config.engine.networks],
    )
    networks = {
        name: load_network(config, stages[name], bundle, plan.threads)
        for name, bundle in bundles.items()
    }
    return Pipeline(
        classify=networks.get("classify"),
        segment=networks.get("segment"),
        lighter=networks.get("lighter"),
        parallel=plan.parallel,
        budget=config.budget,
        check_every=config.engine.check_every,
        events=events,
        strain=None if strain is None else lambda: strain.reason,
    )


def _stream(
    pipeline: Pipeline, source: Source, fan: SinkFan, beats: Heartbeats, limit: int
) -> RilleError | None:
    """Feed every result to every sink, complete the sinks, and return what went wrong, if so."""
    problem: RilleError | None = None
    events = pipeline.events
    events.emit(
        "RUN_STARTED",
        f"rille {rille.__version__}: {source.describe()}",
        source=source.uri.shown,
        budget_ms=pipeline.budget.frame_ms,
        version=rille.__version__,
    )
    results = pipeline.stream(WatchedSource(source, beats), losses=True)
    try:
        with SourceFollower(source, events):
            for result in results:
                fan.write(result)
                beats.published()
                if limit and pipeline.stats.totals.captured >= limit:
                    pipeline.stop()
    except RilleError as wrong:
        problem = wrong
    results.close()  # type: ignore[attr-defined]  # a generator: accounts for frames in hand
    events.emit(
        "RUN_ENDED",
        str(pipeline.stats.totals) + (f"; {problem}" if problem else ""),
        error=str(problem or ""),
    )
    try:
        fan.close()
    except RilleError as wrong:
        problem = problem or wrong
    return problem


@contextlib.contextmanager
def _signals(pipeline: Pipeline, fan: SinkFan) -> Iterator[list[int]]:
    """End the stream at the first Ctrl-C or SIGTERM; a second Ctrl-C interrupts at once."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        pipeline.stop()
        fan.hurry()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _conclude(
    pipeline: Pipeline,
    source: Source,
    folder: Path,
    problem: RilleError | None,
    sink_notes: list[str],
) -> None:
    """Print the table, and say what was lost and where the outputs are."""
    print(pipeline.stats)
    totals = pipeline.stats.totals
    length = source.length
    if source.ended and length is not None and totals.captured < length:
        print(f"note: the source ended after {totals.captured} of {length} frames", file=sys.stderr)
    if totals.failed:
        print(
            f"note: {totals.failed} frame(s) failed; results.jsonl tells each error",
            file=sys.stderr,
        )
    for event in source.events:
        if event.kind != "connected":
            print(f"note: source {event.kind}: {event.text}", file=sys.stderr)
    for rebuild in pipeline.watch.rebuilds:
        print(
            f"note: {rebuild.stage} was built anew after {rebuild.after} frames; do not trust its "
            f"answers to the last {rebuild.suspect} before that ({rebuild.reason})",
            file=sys.stderr,
        )
    for note in sink_notes:
        print(f"note: {note}", file=sys.stderr)
    names = (
        "run.mcap",
        "results.jsonl",
        "annotated.mp4",
        "report.html",
        "run.toml",
        "summary.json",
    )
    found = [name for name in names if (folder / name).is_file()]
    verb = "incomplete run; wrote" if problem else "wrote"
    print(f"{verb} {', '.join(found)} in {folder}", file=sys.stderr)
