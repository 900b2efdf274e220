"""The options of `rille run`, read alike by the run itself and by the parent that supervises it."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from rille.errors import ConfigError
from rille.health.beats import MOST_CAMERAS


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """What was asked for.

    Attributes:
        configs: TOML files, one for each camera; none for the defaults.
        settings: `section.key=value` texts that take precedence over each.
        supervised: whether a parent process is to watch the run.
        jpeg: quality of recorded frames; None for frames as they are, and where none is recorded.
    """

    configs: list[Path]
    settings: list[str]
    supervised: bool
    jpeg: int | None = None

    @property
    def config(self) -> Path | None:
        """The file of the only camera; None for the defaults."""
        return self.configs[0] if self.configs else None


def read_run_options(verb: str, arguments: list[str]) -> RunOptions:
    """Read the words after "rille run" or "rille record".

    Ends the process where they cannot be understood.

    Raises:
        ConfigError: a number is out of range.
    """
    parser = _PARSERS[verb]()
    parser.add_argument(
        "--supervised",
        action="store_true",
        help="watch the run from a parent process: start it again when it dies or hangs, tell "
        "systemd; outputs go to DIR/part-000, part-001 and so on",
    )
    options = parser.parse_args(arguments)
    configs = options.config if isinstance(options.config, list) else [options.config]
    configs = [path for path in configs if path is not None]
    if len(configs) > 1 and options.source is not None:
        parser.error("--source is for one camera; several are given")
    if len(configs) > MOST_CAMERAS:
        parser.error(f"{len(configs)} cameras; one process takes {MOST_CAMERAS}")
    jpeg = getattr(options, "jpeg", None)
    if jpeg is not None and not 1 <= jpeg <= 100:
        raise ConfigError(f"--jpeg must be from 1 to 100, not {jpeg}")
    return RunOptions(
        configs=configs, settings=settings_of(options), supervised=options.supervised, jpeg=jpeg
    )


def _parser_of_run() -> argparse.ArgumentParser:
    return run_parser(
        "run",
        "Stream frames through the networks and write results, video and report. Several "
        "configurations are several cameras in one process, each with its own budget and folder.",
        several=True,
    )


def _parser_of_record() -> argparse.ArgumentParser:
    parser = run_parser(
        "record",
        "The same as rille run, and OUT/run.mcap besides: frames, results, masks, annotations and "
        "events in one file, which rille replay works on once more, and which Foxglove and Rerun "
        "open as it is.",
    )
    parser.add_argument(
        "--jpeg",
        type=int,
        metavar="QUALITY",
        help="keep frames as JPEG: about a tenth of the size, but no exact replay",
    )
    return parser


_PARSERS = {"run": _parser_of_run, "record": _parser_of_record}


def run_parser(verb: str, description: str, several: bool = False) -> argparse.ArgumentParser:
    """Return the parser of a verb that runs a pipeline; `settings_of` takes what it gives.

    Args:
        verb: its name.
        description: what it does.
        several: whether it takes several configurations, as a list.
    """
    parser = argparse.ArgumentParser(
        prog=f"rille {verb}",
        description=description,
        epilog="Everything in the configuration can be set: --set budget.frame_ms=40 "
        "--set segment.bundle=path/to/bundle --set output.video=false",
        allow_abbrev=False,  # another process looks for --supervised before this one does
    )
    parser.add_argument(
        "config",
        nargs="*" if several else "?",
        type=Path,
        help="TOML file (default: the simulator)",
    )
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
