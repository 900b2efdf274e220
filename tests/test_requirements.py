"""Every requirement names a test that exists; the end of a session names those that did not run."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from tests.requirements import not_run, requirements, without_parameters

ROOT = Path(__file__).resolve().parent.parent


def names_in(path: Path) -> set[str]:
    """Return the names of a file's tests."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef)}


def test_every_requirement_names_a_test_that_exists() -> None:
    rows = requirements()
    assert len(rows) >= 30
    assert len({row.id for row in rows}) == len(rows)
    for row in rows:
        assert re.fullmatch(r"[A-Z]{3}-\d+", row.id), row
        assert row.requirement and row.rationale, row
        file, _, name = row.test.partition("::")
        assert name.startswith("test_") and name in names_in(ROOT / file), row


def test_what_was_collected_is_what_the_table_names(request: pytest.FixtureRequest) -> None:
    """Of the files that this session looks at, no test of the table is left out by a marker."""
    collected = {without_parameters(item.nodeid) for item in request.session.items}
    files = {name.partition("::")[0] for name in collected}
    if "tests/runtime/test_health_supervisor.py" not in files:
        pytest.skip("only a part of the tests was collected")
    missing = [row for row in requirements() if row.test not in collected]
    narrowed = request.config.option.markexpr or request.config.option.keyword
    assert narrowed or not missing


def test_a_test_that_was_skipped_did_not_run() -> None:
    row, other = requirements()[:2]
    assert not_run([f"{row.test}[1]", f"{row.test}[2]", other.test], [f"{row.test}[2]"]) == [other]
    assert not_run([], []) == []
