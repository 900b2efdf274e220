"""What rille can print, taken from its source: texts with `...` where a value is put in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path


def messages(folder: Path) -> list[str]:
    """Return every text in the Python files of a folder, spaces and values made alike."""
    found: list[str] = []
    for path in sorted(folder.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found.extend(alike(text) for text in _texts(tree))
    return found


def alike(text: str) -> str:
    """Return a text with one space for any blanks and one `...` for values beside each other."""
    return re.sub(r"(\.\.\.)+", "...", " ".join(text.split()))


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
