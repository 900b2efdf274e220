"""LiteRT's own reader and writer of networks."""

from __future__ import annotations

import importlib
from typing import Any

from rille.errors import BackendUnavailableError


def litert_schema() -> Any:
    """Return the module whose classes read and describe what is in a `.tflite` file.

    Raises:
        BackendUnavailableError: the installed LiteRT has none.
    """
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError:
        raise BackendUnavailableError(
            "the insides of a network cannot be read: this LiteRT has no schema; install it with: "
            'pip install "ai-edge-litert>=2.1"'
        ) from None
    return schema_py_generated


def packed(model: Any) -> bytes:
    """Return a described network (a `ModelT` of the schema) as a `.tflite` file.

    Raises:
        BackendUnavailableError: the package that LiteRT itself writes with is absent.
    """
    try:
        builder = importlib.import_module("flatbuffers").Builder(1 << 20)
    except ImportError:
        raise BackendUnavailableError(
            "networks cannot be written: install what LiteRT itself uses: pip install flatbuffers"
        ) from None
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
