"""`rille run --supervised`: the parent process; it imports no NumPy, no OpenCV, no engine."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from rille.cli.run_options import RunOptions, read_run_options
from rille.errors import ConfigError
from rille.health.beats import FrameAccount
from rille.health.settings import DEFAULT_FOLDER, HealthConfig
from rille.health.supervisor import Supervisor
from rille.schema import build, merge_setting, read_toml


def main(arguments: list[str]) -> int:
    """Run `rille run --supervised`; see `rille run --help`.

    Everything but the section `health` and the folder is the run's own to check: where it is wrong,
    the run ends with exit code 2 and is not started again.
    """
    options = read_run_options(arguments)
    table = read_toml(options.config, ConfigError) if options.config else {}
    for setting in options.settings:
        merge_setting(table, setting, ConfigError)
    where = str(options.config or "settings:")
    health = build(HealthConfig, table.get("health", {}), f"{where} health", ConfigError)
    output = table.get("output")
    folder, limit = DEFAULT_FOLDER, 0
    if isinstance(output, dict):
        folder, limit = output.get("folder", folder), output.get("limit", limit)
    if not isinstance(folder, str):
        raise ConfigError(f"{where} output folder must be a text, not {folder!r:.60}")

    def words(part: Path, account: FrameAccount) -> list[str] | None:
        return _words(options, part, limit, account.captured)

    return Supervisor(words, Path(folder), health, os.environ, _say).run()


def _words(options: RunOptions, part: Path, limit: Any, captured: int) -> list[str] | None:
    """Return the words after "rille run" for one part; None where the limit was reached."""
    settings = [*options.settings, f"output.folder={json.dumps(str(part))}"]
    if isinstance(limit, int) and limit > 0 and captured:
        if captured >= limit:
            return None
        settings.append(f"output.limit={limit - captured}")
    given = [word for setting in settings for word in ("--set", setting)]
    return given if options.config is None else [str(options.config), *given]


def _say(text: str) -> None:
    print(f"rille run: {text}", file=sys.stderr, flush=True)
