"""The options of `rille run`, read alike by the run itself and by the parent that supervises it."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """What was asked for.

    Attributes:
        config: a TOML file, or None.
        settings: `section.key=value` texts that take precedence over it.
        supervised: whether a parent process is to watch the run.
    """

    config: Path | None
    settings: list[str]
    supervised: bool


def read_run_options(arguments: list[str]) -> RunOptions:
    """Read the words after "rille run"; ends the process where they cannot be understood."""
    parser = run_parser(
        "run", "Stream frames through the networks and write results, video and report."
    )
    parser.add_argument(
        "--supervised",
        action="store_true",
        help="watch the run from a parent process: start it again when it dies or hangs, tell "
        "systemd; outputs go to DIR/part-000, part-001 and so on",
    )
    options = parser.parse_args(arguments)
    return RunOptions(
        config=options.config, settings=settings_of(options), supervised=options.supervised
    )


def run_parser(verb: str, description: str) -> argparse.ArgumentParser:
    """Return the parser of a verb that runs a pipeline; `settings_of` takes what it gives."""
    parser = argparse.ArgumentParser(
        prog=f"rille {verb}",
        description=description,
        epilog="Everything in the configuration can be set: --set budget.frame_ms=40 "
        "--set segment.bundle=path/to/bundle --set output.video=false",
        allow_abbrev=False,  # another process looks for --supervised before this one does
    )
    parser.add_argument("config", nargs="?", type=Path, help="TOML file (default: the simulator)")
    parser.add_argument("--source", metavar="URI", help="sim://moon, images://FOLDER, file://VIDEO")
    parser.add_argument("--out", metavar="DIR", help="folder for the outputs (default: out/run)")
    parser.add_argument("--budget-ms", type=float, metavar="MS", help="deadline from capture")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    return parser


def settings_of(options: argparse.Namespace) -> list[str]:
    """Return the settings that the options of `run_parser` amount to."""
    settings: list[str] = list(options.settings)
    if options.source is not None:
        settings.append(f"source.uri={json.dumps(options.source)}")
    if options.out is not None:
        settings.append(f"output.folder={json.dumps(options.out)}")
    if options.budget_ms is not None:
        settings.append(f"budget.frame_ms={options.budget_ms}")
    return settings
