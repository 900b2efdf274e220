"""The results page: sections of Markdown, each written by the part that measured."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SHORT_FRAMES = 1000
"""Fewer frames do not hold a p99 that means much; a run of ten minutes would."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A part of the page.

    Attributes:
        title: its heading.
        text: Markdown.
        data: the figures behind it, for the JSON file.
        plots: file name -> SVG, for the folder `plots`.
    """

    title: str
    text: str
    data: Any = None
    plots: Mapping[str, str] = field(default_factory=dict)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, first column to the left, the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(_cell(c) for c in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def shown(milliseconds: float | None) -> str:
    """Return milliseconds with three digits that count; "-" for None."""
    if milliseconds is None:
        return "-"
    digits = 0 if milliseconds >= 100 else 1 if milliseconds >= 10 else 2
    return f"{milliseconds:.{digits}f}" if milliseconds >= 0.1 else f"{milliseconds:.3g}"


def say(words: str) -> None:
    """Tell a person how far it is."""
    print(words, file=sys.stderr, flush=True)  # noqa: T201
