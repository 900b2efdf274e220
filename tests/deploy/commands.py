"""Commands of rille that stand in a file, read by rille's own parsers without doing anything."""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rille.cli import main

ROOT = Path(__file__).resolve().parents[2]


class _UnderstoodError(Exception):
    pass


def refusal(words: Sequence[str]) -> str:
    """Return what rille has against the words after "rille"; empty where it understands them."""
    said = io.StringIO()
    with _parsing_only(), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            code: object = main(list(words))
        except _UnderstoodError:
            return ""
        except SystemExit as end:
            code = end.code
    helped = set(words) & {"--help", "--version"}
    return "" if helped and code in (0, None) else f"{' '.join(words)}: {said.getvalue()}"


@contextlib.contextmanager
def _parsing_only() -> Iterator[None]:
    """Make every parser stop the program once it has understood the words."""
    real = argparse.ArgumentParser.parse_args

    def understand(self: argparse.ArgumentParser, *given: Any, **named: Any) -> None:
        real(self, *given, **named)
        raise _UnderstoodError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", understand)
        yield
