"""One camera of a run: its source, its pipeline, its sinks and its folder."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

import rille
from rille.cli.facts import run_facts, versions
from rille.cli.first_load import first_load
from rille.cli.outputs import add_sinks, sink_notes
from rille.cli.reload import find_sound, load_network
from rille.config import NETWORKS, RunConfig
from rille.errors import RilleError, SinkError, SourceError
from rille.events import EventLog
from rille.files import sink_error, write_whole
from rille.health.beats import Heartbeats
from rille.pipeline import Pipeline
from rille.plan import plan_for
from rille.report import RunRecord, write_report
from rille.result import State
from rille.sinks.fan import SinkFan
from rille.sources import open_source
from rille.sources.follow import SourceFollower
from rille.sources.watched import WatchedSource
from rille.strain_watch import StrainWatch

_FILES = (
    "run.mcap",
    "results.jsonl",
    "annotated.mp4",
    "report.html",
    "run.toml",
    "summary.json",
)
_SHOWN = (
    "BUNDLE_FELL_BACK",
    "BUNDLE_ROLLED_BACK",
    "ROLLBACK_FAILED",
    "WEIGHTS_FLIPPED",
    "WEIGHTS_LOST",
)
"""Events that people are told of at the end."""


class Camera:
    """Everything that a run holds for one camera.

    Args:
        config: what to do.
        stack: closes it all.
        beats: a supervisor's memory, or one that nobody reads.
        name: which camera it is, where there are several; else "".
        number: the same as a number from 1; 0 where there is one camera.
        recording: URI of one more sink, which the run cannot do without; empty for none.

    Attributes:
        config, pipeline, fan: its configuration, pipeline and sinks.
        source: gives signs of life where it is watched.
        problem: what ended it, if anything did.

    Raises:
        RilleError: something cannot be opened.
    """

    def __init__(
        self,
        config: RunConfig,
        stack: contextlib.ExitStack,
        beats: Heartbeats,
        name: str = "",
        number: int = 0,
        recording: str = "",
    ) -> None:
        self.config, self._name = config, name
        self._folder = Path(config.output.folder)
        _make_folder(self._folder)
        self._events = EventLog()
        self.problem: RilleError | None = None
        # A source that starts a process of its own does so while the networks are loaded.
        source = stack.enter_context(open_source(config.source.uri))
        watt = config.budget.max_watt or None
        strain = stack.enter_context(StrainWatch(self._events, max_watt=watt))
        self.pipeline = stack.enter_context(build_pipeline(config, self._events, strain))
        print(
            f"{self._label}{source.describe()}; budget {config.budget.frame_ms:g} ms",
            file=sys.stderr,
        )
        self._record = RunRecord()
        # Frames that are read on demand wait for the sinks; those of a camera never do.
        self.fan = SinkFan(self._events, lossless=not source.realtime)
        stack.callback(self.fan.close)
        facts = run_facts(config, self.pipeline, source)
        add_sinks(
            self.fan,
            config,
            self._folder,
            source,
            self.pipeline,
            self._record,
            beats,
            facts,
            recording,
            name,
        )
        self._follower = SourceFollower(source, self._events)
        self._plain = source
        self.source = WatchedSource(source, beats, number)

    @property
    def _label(self) -> str:
        return f"{self._name}: " if self._name else ""

    @property
    def done(self) -> bool:
        """Whether as many frames were captured as were asked for."""
        limit = self.config.output.limit
        return bool(limit) and self.pipeline.stats.totals.captured >= limit

    def start(self) -> None:
        """Say that the run begins."""
        before = list(self._events.recent)
        self._events.emit(
            "RUN_STARTED",
            f"rille {rille.__version__}: {self._plain.describe()}",
            source=self._plain.uri.shown,
            budget_ms=self.pipeline.budget.frame_ms,
            version=rille.__version__,
        )
        self._follower.start()
        for event in before:  # no sink was there to hear of it
            if event.id == "BUNDLE_FELL_BACK":
                self.fan.event(event)

    def end(self) -> None:
        """Say that the run is over, and complete what is written; never raises a `RilleError`."""
        self._follower.close()
        totals = self.pipeline.stats.totals
        self._events.emit(
            "RUN_ENDED",
            str(totals) + (f"; {self.problem}" if self.problem else ""),
            error=str(self.problem or ""),
            captured=totals.captured,
            **{state.value: getattr(totals, state.value) for state in State},
        )
        for complete in (self.fan.close, self._complete):
            try:
                complete()
            except RilleError as wrong:
                self.problem = self.problem or wrong

    def check(self) -> None:
        """Raise what ended the camera's run, if anything did.

        Raises:
            RilleError: that, or that none of its frames could be used.
        """
        if self.problem is not None:
            raise self.problem
        totals = self.pipeline.stats.totals
        if totals.failed and totals.failed == totals.captured:
            plural = "s" if totals.captured > 1 else ""
            raise SourceError(
                f"{self.config.source.uri}: none of {totals.captured} frame{plural} could be used"
            )

    def _complete(self) -> None:
        """Write what is known only at the end: configuration, summary and report."""
        folder, pipeline, source, config = self._folder, self.pipeline, self._plain, self.config
        write_whole(folder / "run.toml", config.to_toml())
        watch = pipeline.watch
        summary = {
            "source": source.uri.text,
            **pipeline.stats.to_json(),
            "source_events": [asdict(event) for event in source.events],
            "golden_checks": watch.checks,
            "rebuilt": [asdict(rebuild) for rebuild in watch.rebuilds],
            "radiation": pipeline.worker.upkeep.to_json(),
            "events": dict(self._events.counts),
            "sinks": {name: counts.to_json() for name, counts in self.fan.counts().items()},
        }
        if source.feed is not None:
            summary["vehicle_feed"] = {"heard": source.feed.heard, "ignored": source.feed.ignored}
        write_whole(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
        if config.output.report:
            write_report(
                folder / "report.html",
                source=source.describe(),
                stats=pipeline.stats,
                record=self._record,
                config=config.to_toml(),
                versions=versions(pipeline),
            )

    def conclude(self) -> None:
        """Print the table, and say what was lost and where the outputs are."""
        pipeline, source = self.pipeline, self._plain
        if self._name:
            print(f"{self._name}:")
        print(pipeline.stats)
        totals = pipeline.stats.totals
        length = source.length
        if source.ended and length is not None and totals.captured < length:
            print(
                f"note: the source ended after {totals.captured} of {length} frames",
                file=sys.stderr,
            )
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
                f"note: {rebuild.stage} was built anew after {rebuild.after} frames; do not trust "
                f"its answers to the last {rebuild.suspect} before that ({rebuild.reason})",
                file=sys.stderr,
            )
        for told in self._events.recent:
            if told.id in _SHOWN:
                print(f"note: {told.text}", file=sys.stderr)
        for note in sink_notes(self.fan, self._events):
            print(f"note: {note}", file=sys.stderr)
        found = [name for name in _FILES if (self._folder / name).is_file()]
        verb = "incomplete run; wrote" if self.problem else "wrote"
        print(f"{verb} {', '.join(found)} in {self._folder}", file=sys.stderr)


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
    bundles, fallen = {}, {}
    for name, stage in config.stages.items():
        if stage.bundle:
            bundles[name], fallen[name] = find_sound(config, stage)
            if not config.engine.backend.startswith("tensorrt"):
                first_load(bundles[name], stage.variant)
    plan = plan_for(
        bundles,
        backend=config.engine.backend,
        threads=config.engine.threads or None,
        parallel=NETWORKS[config.engine.networks],
    )
    networks = {
        name: load_network(config, config.stages[name], bundle, plan)
        for name, bundle in bundles.items()
    }
    pipeline = Pipeline(
        classify=networks.get("classify"),
        segment=networks.get("segment"),
        lighter=networks.get("lighter"),
        threads=plan.threads,
        parallel=plan.parallel,
        budget=config.budget,
        check_every=config.engine.check_every,
        defences=config.radiation,
        events=events,
        strain=None if strain is None else lambda: strain.reason,
    )
    for name, why in fallen.items():
        if why:
            pipeline.events.emit(
                "BUNDLE_FELL_BACK",
                f"{name}: {bundles[name].where} flies, because the bundle that should is damaged "
                f"({why})",
                stage=name,
                digest=bundles[name].digest,
            )
    return pipeline
