"""The guides: each command is one that rille takes, and is run where that needs no board.

Boxes: ```sh is run by `make guides` (RILLE_GUIDES=1), ```sh quick by every test run too, ```sh long
is part of setting up and is not run again, ```sh hardware needs a board, a camera or its system.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.deploy.commands import ROOT, refusal
from tests.deploy.messages import alike, messages

from rille.events import KINDS

FOLDER = ROOT / "docs/guides"
GUIDES = sorted(FOLDER.glob("*.md"))
TRIED = ("budgets", "bench-rig", "jetson", "raspberry-pi", "updates", "workstation-training")
KINDS_OF_BOX = {"sh", "sh quick", "sh long", "sh hardware"}

BEFORE = re.compile(r"^(\s*(ssh \S+|sudo( -u \S+)?|env \S+=\S+) )+")
"""What may stand before a command of rille: another machine, another user, a variable."""

guides = pytest.mark.parametrize("guide", GUIDES, ids=lambda p: p.stem)


def _boxes(guide: Path) -> list[tuple[str, str]]:
    return re.findall(r"^```([a-z ]*)\n(.*?)^```$", guide.read_text(), re.DOTALL | re.MULTILINE)


def _commands(text: str) -> Iterator[list[str]]:
    """Yield the words after "rille" of each command in a box, on whatever machine it runs."""
    for line in text.splitlines():
        for command in line.split("&&"):
            words = shlex.split(BEFORE.sub("", command), comments=True)
            if words and words[0] == "rille":
                yield words[1:]


@guides
def test_every_command_is_one_that_rille_takes(guide: Path) -> None:
    for kind, text in _boxes(guide):
        assert kind in KINDS_OF_BOX, kind
        for words in _commands(text):
            assert refusal(words) == ""
    for words in re.findall(r"`(?:sudo )?rille ([a-z][^`]*)`", guide.read_text()):
        if not words.startswith("service uninstall"):
            assert refusal(words.split()) == "" or _unfinished(words), words


def _unfinished(words: str) -> bool:
    """Return whether words name a verb alone, as a sentence does: `rille bundle install`."""
    said = refusal([*words.split(), "--help"])
    return said == ""


@guides
def test_links_lead_to_pages_and_headings(guide: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", guide.read_text()):
        if target.startswith("http"):
            continue
        page, _, heading = target.partition("#")
        path = (guide.parent / page) if page else guide
        assert path.exists(), target
        if heading:
            made = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in made}
            assert heading in slugs, target


def test_every_quoted_message_is_one_that_rille_prints() -> None:
    said = messages(ROOT / "runtime/rille")
    text = (FOLDER / "troubleshooting.md").read_text()
    keys: list[str] = re.findall(r"^### `(.*)`$", text, re.MULTILINE)
    assert len(keys) > 30
    for key in keys:
        if key.startswith("rille.service:"):  # systemd's
            continue
        wanted = alike(key)
        assert any(wanted in one for one in said), key


def test_events_named_in_the_guides_are_rilles() -> None:
    for guide in GUIDES:
        names = set(re.findall(r"`([A-Z]+_[A-Z_]+)`", guide.read_text()))
        assert names - {"KERAS_BACKEND"} <= set(KINDS), guide.name


def test_each_guide_tells_what_was_never_tried_on_a_board() -> None:
    for guide in GUIDES:
        boxes = [kind for kind, _ in _boxes(guide)]
        marks = guide.read_text().count("\n*board*\n")
        if guide.stem in ("raspberry-pi", "jetson", "bench-rig"):
            assert marks == boxes.count("sh hardware") > 0
    assert {g.stem for g in GUIDES} == {*TRIED, "README", "troubleshooting"}


@pytest.mark.parametrize("name", ["raspberry-pi", "jetson"])
def test_the_quick_boxes_do_what_they_say(name: str, tmp_path: Path) -> None:
    _run_boxes(FOLDER / f"{name}.md", ("sh quick",), tmp_path)


@pytest.mark.skipif(
    "RILLE_GUIDES" not in os.environ, reason="the guides' slow boxes are run by: make guides"
)
@pytest.mark.slow
@pytest.mark.parametrize("name", TRIED)
def test_the_guide_works_line_by_line(name: str, tmp_path: Path) -> None:
    _run_boxes(FOLDER / f"{name}.md", ("sh", "sh quick"), tmp_path)


def _run_boxes(guide: Path, kinds: tuple[str, ...], folder: Path) -> None:
    """Run boxes one after the other in one folder, ending at the first command that fails."""
    script = "\n".join(text for kind, text in _boxes(guide) if kind in kinds)
    tools = folder / "tools"
    tools.mkdir()
    _tool(tools / "rille", f'exec "{sys.executable}" -m rille "$@"')
    _tool(tools / "python3", f'exec "{sys.executable}" "$@"')
    rover = folder / "rover"
    for place in ("etc/rille", "var/tmp", "var/lib/rille"):
        (rover / place).mkdir(parents=True)
    # A board that is absent: copying goes into a folder, commands run here on that folder.
    _tool(tools / "scp", f'for to; do :; done; cp "$2" "{rover}${{to#rover:}}"')
    _tool(
        tools / "ssh",
        'shift; [ "$1" != sudo ] || shift; [ "$1" != -u ] || shift 2\n'
        '[ "$1" != systemctl ] || exit 0\n'
        f'set -- $(printf "%s\\n" "$@" | sed "s|^/|{rover}/|"); exec "$@"',
    )
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{tools}:/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join(str(ROOT / p) for p in ("runtime", "train", "export")),
        },
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def _tool(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
