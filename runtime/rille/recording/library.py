"""The reference library of the file format, imported only when a recording is touched."""

from __future__ import annotations

import importlib
from typing import Any

from rille.errors import ConfigError


def library(name: str) -> Any:
    """Import a module of the package mcap.

    Raises:
        ConfigError: the extra is not installed.
    """
    try:
        return importlib.import_module(f"mcap.{name}")
    except ImportError:
        raise ConfigError(
            'recordings need the package mcap; install it with: pip install "rille[record]"'
        ) from None
