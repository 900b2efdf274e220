"""`rille record`: a run that keeps everything."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from rille.cli.run import run
from rille.cli.run_options import read_run_options
from rille.config import read_config


def main(arguments: list[str]) -> int:
    """Run `rille record`; see `rille record --help`."""
    options = read_run_options("record", arguments)
    config = read_config(options.config, options.settings)
    lossy = f"?jpeg={options.jpeg}" if options.jpeg is not None else ""
    return run({"": config}, f"mcap://{quote(str(Path(config.output.folder) / 'run.mcap'))}{lossy}")
