"""The table of requirements, and which of its tests a session ran."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).resolve().parent.parent / "docs" / "requirements.csv"


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirement:
    """A row of the table: what must hold, why, and the test that shows it."""

    id: str
    requirement: str
    rationale: str
    test: str


def requirements(path: Path = TABLE) -> list[Requirement]:
    """Return the rows of the table."""
    with path.open(newline="", encoding="utf-8") as file:
        return [Requirement(**row) for row in csv.DictReader(file)]


def without_parameters(name: str) -> str:
    """Return a test's name without what a parametrisation adds."""
    return name.partition("[")[0]


def not_run(collected: Iterable[str], ran: Iterable[str]) -> list[Requirement]:
    """Return the requirements whose test was collected, and of which no case ran.

    Args:
        collected: names of the tests of a session.
        ran: of those that ran and were not skipped.
    """
    known = {without_parameters(name) for name in collected}
    done = {without_parameters(name) for name in ran}
    return [row for row in requirements() if row.test in known and row.test not in done]
