"""`rille run --supervised`: the parent process; it imports no NumPy, no OpenCV, no engine."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rille.cli.run_options import RunOptions, read_run_options
from rille.errors import ConfigError
from rille.health.beats import FrameAccount
from rille.health.settings import DEFAULT_FOLDER, HealthConfig
from rille.health.supervisor import Supervisor
from rille.schema import build, merge_setting, read_toml

_STAGES = ("classify", "segment", "lighter")


def main(verb: str, arguments: list[str]) -> int:
    """Run `rille run --supervised` or `rille record --supervised`; see their `--help`.

    Everything but the section `health`, the folder and the limit is the run's own to check: where
    it is wrong, the run ends with exit code 2 and is not started again.
    """
    options = read_run_options(verb, arguments)
    where = str(options.config or "settings:")
    table = read_toml(options.config, ConfigError) if options.config else {}
    limit = 0
    tables = [table]
    for other in options.configs[1:]:
        own = read_toml(other, ConfigError)
        if own.get("health", {}) != table.get("health", {}):
            raise ConfigError(f"{other} health: must say what {where} says: one process is watched")
        limit = limit or _output(own)[1]
        tables.append(own)
    for one in tables:
        for setting in options.settings:
            merge_setting(one, setting, ConfigError)
    health = build(HealthConfig, table.get("health", {}), f"{where} health", ConfigError)
    folder, own_limit = _output(table)
    if not isinstance(folder, str):
        raise ConfigError(f"{where} output folder must be a text, not {folder!r:.60}")
    limit = limit or own_limit
    if limit and len(options.configs) > 1:
        raise ConfigError(
            "output limit: leave it out; several supervised cameras run until they are told to end"
        )

    def words(part: Path, account: FrameAccount) -> list[str] | None:
        return _words(verb, options, part, limit, account.captured)

    def say(text: str) -> None:
        print(f"rille {verb}: {text}", file=sys.stderr, flush=True)

    bundles = [path for one in tables for path in _bundles(one)]
    return Supervisor(words, Path(folder), health, os.environ, say, bundles).run()


def _bundles(table: dict[str, Any]) -> Iterator[Path]:
    """Yield what the stages fly from, unchecked."""
    for stage in _STAGES:
        section = table.get(stage)
        if isinstance(section, dict) and isinstance(section.get("bundle"), str):
            yield Path(section["bundle"])


def _output(table: dict[str, Any]) -> tuple[Any, Any]:
    """Return folder and limit, unchecked."""
    output = table.get("output")
    if not isinstance(output, dict):
        return DEFAULT_FOLDER, 0
    return output.get("folder", DEFAULT_FOLDER), output.get("limit", 0)


def _words(
    verb: str, options: RunOptions, part: Path, limit: Any, captured: int
) -> list[str] | None:
    """Return the words after "rille" for one part; None where the limit was reached."""
    settings = [*options.settings, f"output.folder={json.dumps(str(part))}"]
    if isinstance(limit, int) and limit > 0 and captured:
        if captured >= limit:
            return None
        settings.append(f"output.limit={limit - captured}")
    given = [word for setting in settings for word in ("--set", setting)]
    quality = ["--jpeg", str(options.jpeg)] if options.jpeg is not None else []
    return [verb, *(str(path) for path in options.configs), *quality, *given]
