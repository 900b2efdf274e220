"""A double of `pycuda.driver`: the few names that rille uses."""

from __future__ import annotations

import ctypes
from typing import Any

import double_device as device
import numpy as np

depth = 0
"""Contexts entered and not left; every call but `init` and `Device` needs one."""


class Error(Exception):
    """The root of PyCUDA's errors."""


def init() -> None:
    """Do nothing: the device is always ready."""


class Context:
    def push(self) -> None:
        global depth
        depth += 1

    def pop(self) -> None:
        global depth
        depth -= 1


class Device:
    def __init__(self, number: int) -> None:
        assert number == 0

    def compute_capability(self) -> tuple[int, int]:
        return 7, 2

    def retain_primary_context(self) -> Context:
        return Context()


class Stream:
    def __init__(self) -> None:
        _need_context()
        self.handle = device.STREAM

    def synchronize(self) -> None:
        _need_context()
        device.wait()


class DeviceAllocation:
    def __init__(self, size: int) -> None:
        self._address: int = device.allocate(size)

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        _need_context()
        device.release(self._address)


def mem_alloc(bytes: int) -> DeviceAllocation:
    _need_context()
    return DeviceAllocation(bytes)


def pagelocked_empty(shape: tuple[int, ...], dtype: Any) -> Any:
    _need_context()
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = (ctypes.c_uint8 * size).from_address(device.allocate(size))
    return np.frombuffer(memory, dtype).reshape(shape)


def memcpy_htod_async(dest: int, src: Any, stream: Stream) -> None:
    _need_context()
    device.queue.append(lambda: device.write(dest, src.tobytes()))


def memcpy_dtoh_async(dest: Any, src: int, stream: Stream) -> None:
    _need_context()
    device.queue.append(lambda: device.write(dest.ctypes.data, device.read(src, dest.nbytes)))


def _need_context() -> None:
    if depth < 1:
        raise Error("no context is current")
