"""`rille record`: a run that keeps everything."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from rille.cli.run import run
from rille.cli.run_options import run_parser, settings_of
from rille.config import read_config
from rille.errors import ConfigError


def main(arguments: list[str]) -> int:
    """Run `rille record`; see `rille record --help`."""
    words = (
        "The same as rille run, and OUT/run.mcap besides: frames, results, masks, annotations and "
        "events in one file, which rille replay works on once more, and which Foxglove and Rerun "
        "open as it is."
    )
    own = run_parser("record", words)
    own.add_argument(
        "--jpeg",
        type=int,
        metavar="QUALITY",
        help="keep frames as JPEG: about a tenth of the size, but no exact replay",
    )
    options = own.parse_args(arguments)
    if options.jpeg is not None and not 1 <= options.jpeg <= 100:
        raise ConfigError(f"--jpeg must be from 1 to 100, not {options.jpeg}")
    config = read_config(options.config, settings_of(options))
    lossy = f"?jpeg={options.jpeg}" if options.jpeg is not None else ""
    return run({"": config}, f"mcap://{quote(str(Path(config.output.folder) / 'run.mcap'))}{lossy}")
