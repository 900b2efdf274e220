"""What the README shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(p for p in ROOT.glob("*.md")) + sorted(ROOT.glob("*/README.md"))


def test_the_example_runs_and_prints_what_stands_below_it() -> None:
    code, output = re.findall(r"```(?:python)?\n(.*?)```", README, re.DOTALL)[:2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT / "runtime"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    # Milliseconds and what they lead to differ from machine to machine; the form does not.
    shown, printed = output.splitlines(), done.stdout.splitlines()
    assert len(code.splitlines()) <= 12
    assert [line.split()[0] for line in printed[:3]] == [line.split()[0] for line in shown[:3]]
    assert re.match(r"frames: 30 captured = \d+ ok", printed[-2])
    assert printed[-2].split("=")[0] == shown[-2].split("=")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
