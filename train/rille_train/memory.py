"""Whether a training fits into memory, said before it starts rather than by a killed process."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from rille.errors import ConfigError

_STATES = 5
"""Copies of each weight: itself, its gradient, two moments, its average."""
_TRACES = 1.5
"""Bytes kept for a training step per byte of activations; 1.1 to 2.3 were measured here."""
_EXHAUSTED = ("ResourceExhaustedError", "OutOfMemoryError", "XlaRuntimeError", "MemoryError")


def check_memory(model: Any, batch: int, free: int | None = None) -> None:
    """Refuse a training that would not fit into the memory of this machine.

    The estimate counts weights with their optimiser's state, and the outputs of all layers with
    their gradients. It is coarse, and meant to catch what is several times too large. Memory of
    accelerators is not known here; see `explained`.

    Args:
        model: the network to be trained.
        batch: images in a step.
        free: bytes; None for what is free now.

    Raises:
        ConfigError: too large; it says which batch would fit.
    """
    free = available() if free is None else free
    if free is None:
        return
    fixed = 4 * _STATES * int(model.count_params())
    each = _TRACES * activation_bytes(model)
    if fixed + batch * each <= free:
        return
    fits = int((free - fixed) / each)
    raise ConfigError(
        f"too little memory: a batch of {batch} needs about {_gigabytes(fixed + batch * each)}, "
        f"{_gigabytes(free)} are free; {_way_out(fits)}"
    )


@contextlib.contextmanager
def explained(batch: int) -> Iterator[None]:
    """Turn a framework's complaint about memory into a line that names the way out.

    Args:
        batch: images in a step.

    Raises:
        ConfigError: memory ran out, on the processor or an accelerator.
    """
    try:
        yield
    except Exception as wrong:  # each framework has its own type, and none is always installed
        exhausted = type(wrong).__name__ in _EXHAUSTED
        said = str(wrong)
        if not exhausted or (type(wrong).__name__ == "XlaRuntimeError" and "EXHAUST" not in said):
            raise
        raise ConfigError(
            f"memory ran out while training with batches of {batch}; {_way_out(batch // 2)}"
        ) from None


def activation_bytes(model: Any) -> int:
    """Return the bytes of all layers' outputs for one image, nested networks included."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += activation_bytes(layer)
            continue
        size = 2 if "16" in str(layer.compute_dtype) else 4
        for output in _tensors(getattr(layer, "output", None)):
            total += size * math.prod(int(n) for n in output.shape[1:] if n is not None)
    return total


def available() -> int | None:
    """Return the bytes that this process may still take, or None where nothing tells.

    The least of what Linux calls available and what is left of the control group's limit.
    """
    found = []
    with contextlib.suppress(OSError, ValueError, StopIteration, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        found.append(int(line.split()[1]) * 1024)
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit
            root = Path("/sys/fs/cgroup")
            most = int((root / limit).read_text(encoding="ascii"))
            found.append(most - int((root / used).read_text(encoding="ascii")))
    return min(found) if found else None


def _tensors(output: Any) -> list[Any]:
    if output is None:
        return []
    if isinstance(output, dict):
        return list(output.values())
    return list(output) if isinstance(output, list | tuple) else [output]


def _way_out(fits: int) -> str:
    if fits >= 1:
        return f"--set fit.batch={fits} would fit"
    return "not even one image fits: take a smaller input or network"


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
