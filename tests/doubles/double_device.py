"""The device that the doubles of TensorRT, cuda-python and PyCUDA share."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

memory: dict[int, Any] = {}
"""Address -> buffer, of the "device" and of pinned memory alike."""
queue: list[Callable[[], None]] = []
"""What the stream has still to do."""
STREAM = 4711


def allocate(size: int) -> int:
    buffer = (ctypes.c_uint8 * size)()
    address = ctypes.addressof(buffer)
    memory[address] = buffer
    return address


def release(address: int) -> None:
    del memory[address]  # a KeyError is a double free


def read(address: int, size: int) -> bytes:
    _check(address, size)
    return ctypes.string_at(address, size)


def write(address: int, content: bytes) -> None:
    _check(address, len(content))
    ctypes.memmove(address, content, len(content))


def _check(address: int, size: int) -> None:
    fits = any(start <= address and address + size <= start + len(b) for start, b in memory.items())
    assert fits, "outside of every buffer: a real device would corrupt memory"


def wait() -> None:
    while queue:
        queue.pop(0)()
