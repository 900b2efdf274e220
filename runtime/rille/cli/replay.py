"""`rille replay`: the same frames through the same networks, and the same answers."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rille.cli.camera import build_pipeline
from rille.cli.compare import add_rules, read_rules, table
from rille.config import RunConfig, parse_config
from rille.errors import BundleError, ConfigError, SourceError
from rille.files import sink_error
from rille.pipeline import Pipeline
from rille.recording import Recording, open_recording
from rille.recording.compare import Comparison, Rules, compare
from rille.replay import Worker, replay

EXACT = "litert-exact"


def main(arguments: list[str]) -> int:
    """Run `rille replay`; see `rille replay --help`. Return 1 where anything came out different."""
    options = _parser().parse_args(arguments)
    rules = _rules(options)
    recording = open_recording(_file(options.run))
    if not options.tolerance and recording.about.get("pixels") != "png":
        raise ConfigError(
            f"{recording.path}: its frames are not exact ({recording.about.get('pixels')}); "
            "say how far off answers may be, as in --tolerance 0.05"
        )
    config = _config(recording, options)
    with build_pipeline(config) as pipeline:
        _check_bundles(recording, pipeline, options.allow_other_bundle)
        found = _replay(recording, pipeline, rules, options.out)
    print(table(found))
    if recording.cut:
        print(f"note: {recording.path}: {recording.cut}", file=sys.stderr)
    if recording.missing:
        print(
            f"note: {recording.missing} frames of the run are not in the recording, which fell "
            "behind; what was decided after them need not come out the same",
            file=sys.stderr,
        )
    if not found.frames:
        raise SourceError(f"{recording.path}: holds no frame")
    return 0 if found.same else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rille replay",
        description="Work on a recording once more: same configuration, same bundles, the clock as "
        "it was read then. Compares at once, and ends with 1 where anything came out different. "
        "Without --tolerance every mask, logit and feature must be the same to the bit.",
    )
    parser.add_argument("run", type=Path, help="a recording, or the folder of a recorded run")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the new results as JSONL")
    parser.add_argument(
        "--backend", metavar="NAME", help=f"another engine; {EXACT} gives the same bits everywhere"
    )
    parser.add_argument("--exact", action="store_true", help=f"the same as --backend {EXACT}")
    parser.add_argument("--threads", type=int, metavar="N", help="threads for one inference")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    parser.add_argument(
        "--allow-other-bundle",
        action="store_true",
        help="go on where a bundle here is not the one that was recorded with",
    )
    add_rules(parser)
    return parser


def _rules(options: argparse.Namespace) -> Rules:
    """Build the rules; within a tolerance the digests, which have none, do not count."""
    if options.exact and options.backend not in (None, EXACT):
        raise ConfigError(f"--exact means --backend {EXACT}; leave one of the two out")
    rules = read_rules(options.tolerance, options.ignore, options.times)
    others = [*(("digests.*",) if options.tolerance else ())]
    others += ["bundles.*"] if options.allow_other_bundle else []
    return replace(rules, ignore=(*rules.ignore, *others))


def _config(recording: Recording, options: argparse.Namespace) -> RunConfig:
    if not recording.config:
        raise SourceError(f"{recording.path}: tells no configuration; record with: rille record")
    settings = list(options.settings)
    backend = EXACT if options.exact else options.backend
    if backend is not None:
        settings.append(f"engine.backend={json.dumps(backend)}")
    if options.threads is not None:
        settings.append(f"engine.threads={options.threads}")
    return parse_config(recording.config, str(recording.path), settings)


def _check_bundles(recording: Recording, pipeline: Pipeline, allow_other: bool) -> None:
    """Hold the bundles loaded here against those recorded with.

    Raises:
        BundleError: they are others.
    """
    for stage, network in pipeline.networks.items():
        recorded = recording.stages.get(stage, {})
        here = network.bundle.digest if network.bundle else ""
        if recorded.get("digest") == here:
            continue
        words = (
            f"{stage}: recorded with {recorded.get('name', 'no bundle')} "
            f"{recorded.get('version', '')} ({recorded.get('digest', '')[:12]}), here is "
            f"{network.contract.name} {network.contract.version} ({here[:12]})"
        )
        if not allow_other:
            raise BundleError(
                f"{words}; name the right one with --set {stage}.bundle=PATH, or go on with "
                "--allow-other-bundle"
            )
        print(f"note: {words}", file=sys.stderr)


def _replay(recording: Recording, worker: Worker, rules: Rules, out: Path | None) -> Comparison:
    """Replay and compare frame by frame, so that a long recording needs no memory."""
    before, after = itertools.tee(replay(recording, worker))
    recorded = (frame.record for frame, _ in before)
    with contextlib.ExitStack() as stack:
        results: Iterator[dict[str, Any]] = (record for _, record in after)
        if out is not None:
            results = stack.enter_context(_written(results, out))
        return compare(recorded, results, rules)


@contextlib.contextmanager
def _written(records: Iterator[dict[str, Any]], path: Path) -> Iterator[Iterator[dict[str, Any]]]:
    """Give the records on, writing each as a line of JSON."""
    try:
        with path.open("w") as file:

            def give() -> Iterator[dict[str, Any]]:
                for record in records:
                    file.write(json.dumps(record, separators=(",", ":")) + "\n")
                    yield record

            yield give()
    except OSError as wrong:
        raise sink_error(path, wrong) from None


def _file(path: Path) -> Path:
    return path / "run.mcap" if path.is_dir() else path
