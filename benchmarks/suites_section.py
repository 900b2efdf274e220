"""The pytest-benchmark suites: their part of the results page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.page import Section, shown, table
from rille.errors import CheckFailedError

_HERE = Path(__file__).resolve().parent
_WORDS = """\
Single calls by pytest-benchmark, one process, nothing else of rille running: median, the distance
between the quartiles, and the rounds. What each row is, its benchmark says in one sentence.
"""


def measure(folder: Path) -> Section:
    """Run the suites.

    Args:
        folder: for pytest-benchmark's JSON.

    Raises:
        CheckFailedError: a benchmark failed its own checks.
    """
    report = folder / "suites.json"
    options = ["--benchmark-json", str(report), "--benchmark-max-time=0.5", "--benchmark-quiet"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        [*command, str(_HERE / "suites")], cwd=_HERE.parent, capture_output=True, text=True
    )
    if done.returncode:
        raise CheckFailedError(f"benchmarks/suites: {_last(done.stdout + done.stderr)}")
    return section_of(json.loads(report.read_text()), done.stdout)


def section_of(report: dict[str, Any], said: str) -> Section:
    """Return the part of the page for pytest-benchmark's JSON.

    Args:
        report: the JSON.
        said: what pytest printed; the skipped ones are quoted from it.
    """
    parts: list[str] = [_WORDS]
    for file in dict.fromkeys(_file(one) for one in report["benchmarks"]):
        rows = [_row(one) for one in report["benchmarks"] if _file(one) == file]
        head = ["", "median ms", "IQR ms", "rounds", "what"]
        parts.append(f"\n### {file}\n\n{table(head, rows)}")
    skipped = [line for line in said.splitlines() if line.startswith("SKIPPED")]
    reasons = dict.fromkeys(line.partition(": ")[2] for line in skipped)
    here = f"{_HERE.parent}{os.sep}"
    parts += ["\n", *(f"- left out: {why.replace(here, '')}\n" for why in reasons if why)]
    return Section(
        title="Single parts",
        text="".join(parts),
        data={one["name"]: one["stats"]["median"] * 1e3 for one in report["benchmarks"]},
    )


def _file(one: dict[str, Any]) -> str:
    return Path(one["fullname"].partition("::")[0]).stem.removeprefix("test_")


def _row(one: dict[str, Any]) -> list[str]:
    stats = one["stats"]
    median, spread = (shown(1e3 * stats[key]) for key in ("median", "iqr"))
    name = one["name"].removeprefix("test_")
    return [name, median, spread, str(stats["rounds"]), one["extra_info"]["what"]]


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["no words"])[-1][:300]
