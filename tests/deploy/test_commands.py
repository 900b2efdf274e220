"""The reader of commands itself: it must refuse what rille refuses."""

from __future__ import annotations

import pytest
from tests.deploy.commands import refusal


@pytest.mark.parametrize(
    "words",
    [
        "run --supervised flight.toml",
        "train --help",
        "train moon-craters --data x",
        "bundle install a.zip --into b --key k",
        "service install --dry-run",
        "--version",
    ],
)
def test_what_rille_takes_is_taken(words: str) -> None:
    assert refusal(words.split()) == ""


@pytest.mark.parametrize(
    "words",
    ["", "rum", "run --no-such", "bundle instal x", "service install --bord pi4", "train -x"],
)
def test_what_rille_refuses_is_refused(words: str) -> None:
    assert refusal(words.split()) != ""
