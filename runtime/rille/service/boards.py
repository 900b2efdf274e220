"""The boards for which there is an example configuration, and which of them this machine is."""

from __future__ import annotations

from pathlib import Path

from rille.errors import ConfigError, nearest

BOARDS = {"pi4": "Raspberry Pi 4", "pi5": "Raspberry Pi 5", "orin": "Orin"}
"""Name of an example -> the words by which the firmware's name of a board is known."""

_FOLDER = Path(__file__).parent


def board_of(model: str) -> str:
    """Return the name of the example for a board; empty where there is none.

    Args:
        model: as the firmware calls it; see `rille.board.Board`.
    """
    return next((name for name, words in BOARDS.items() if words in model), "")


def example(board: str) -> str:
    """Return the example configuration for a board, as TOML.

    Raises:
        ConfigError: there is none for it.
    """
    if board not in BOARDS:
        raise ConfigError(
            f"--board {board}: there is no example for it{nearest(board, list(BOARDS))} "
            f"(known: {', '.join(BOARDS)})"
        )
    return template(f"{board}.toml")


def template(name: str) -> str:
    """Return the text of a file that lies beside this module."""
    return (_FOLDER / name).read_text(encoding="utf-8")
