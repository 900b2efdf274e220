"""`rille compare`: field by field."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rille.errors import ConfigError
from rille.recording.compare import TIMES, Comparison, Rules, compare
from rille.results import ResultFile


def main(arguments: list[str]) -> int:
    """Run `rille compare`; see `rille compare --help`. Return 1 where anything differs."""
    options = _parser().parse_args(arguments)
    rules = read_rules(options.tolerance, options.ignore, options.times)
    a, b = ResultFile(_results(options.a)), ResultFile(_results(options.b))
    found = compare(a, b, rules)
    for file, path in ((a, options.a), (b, options.b)):
        if file.cut:
            print(f"note: {path}: {file.cut}", file=sys.stderr)
    print(json.dumps(found.to_json(), indent=1) if options.json else table(found))
    return 0 if found.same else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rille compare",
        description="Compare two results.jsonl, recordings or folders of runs, field by field. "
        "Ends with 1 where anything differs.",
    )
    parser.add_argument("a", type=Path)
    parser.add_argument("b", type=Path)
    add_rules(parser)
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    return parser


def add_rules(parser: argparse.ArgumentParser) -> None:
    """Add the options that `read_rules` takes."""
    parser.add_argument("--times", action="store_true", help="compare times as well")
    parser.add_argument(
        "--tolerance",
        action="append",
        default=[],
        metavar="[FIELD=]NUMBER",
        help="by how much numbers may differ that are not whole, or those of fields like "
        "'segmentation.*'",
    )
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="FIELD", help="a field that may differ"
    )


def read_rules(tolerances: list[str], ignore: list[str], times: bool) -> Rules:
    """Build the rules from the words of the command line.

    Raises:
        ConfigError: a tolerance is not a number from 0.
    """
    general, special = 0.0, {}
    for text in tolerances:
        name, equals, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise ConfigError(f"--tolerance {text}: {number!r} is not a number") from None
        if equals:
            special[name] = value
        else:
            general = value
    try:
        return Rules(
            ignore=(*(() if times else TIMES), *ignore), tolerance=general, tolerances=special
        )
    except ValueError as wrong:
        raise ConfigError(f"--tolerance: {wrong}") from None


def table(found: Comparison) -> str:
    """Return a comparison in words, one line a field."""
    lines = [f"{found.frames} frames in both, {found.differing} of them differ"]
    for name, only in (("the first", found.only_a), ("the second", found.only_b)):
        if only:
            lines.append(f"{len(only)} frames only in {name}, from frame {only[0]}")
    if found.differences:
        lines.append(f"{'field':40s} {'frames':>7s} {'largest':>10s}  first: frame, values")
    for path, d in found.differences.items():
        largest = "" if d.largest is None else f"{d.largest:.6g}"
        first = f"{d.first_frame}: {_short(d.first[0])} | {_short(d.first[1])}"
        lines.append(f"{path:40s} {d.frames:7d} {largest:>10s}  {first}")
    return "\n".join(lines)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 32 else f"{text[:29]}..."


def _results(path: Path) -> Path:
    """Return the file itself, or what a run left in the folder."""
    if not path.is_dir():
        return path
    names = ("results.jsonl", "run.mcap")
    return next((path / name for name in names if (path / name).is_file()), path / names[0])
