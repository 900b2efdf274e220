"""Slow-downs planted into one part of one network, as a careless change would bring them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rille.network import Network


def plant(network: Network, part: str, spin_ms: float) -> None:
    """Let one part of a network keep its thread's processor busy for longer.

    Args:
        network: whose.
        part: "preprocess", "infer" or "postprocess".
        spin_ms: by how much, in milliseconds of processor time.
    """
    if part == "preprocess":
        _set(network, "preprocessor", _spun(network.preprocessor, spin_ms))
    elif part == "infer":
        _set(network.backend, "infer", _spun(network.backend.infer, spin_ms))
    else:
        _set(network, "decode", _spun(network.decode, spin_ms))


def _set(thing: object, name: str, call: Callable[..., Any]) -> None:
    setattr(thing, name, call)


def _spun(call: Callable[..., Any], spin_ms: float) -> Callable[..., Any]:
    def spun(*arguments: Any) -> Any:
        answer = call(*arguments)
        end_ns = time.thread_time_ns() + round(spin_ms * 1e6)
        while time.thread_time_ns() < end_ns:
            pass
        return answer

    return spun
