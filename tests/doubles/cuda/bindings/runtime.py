"""A double of `cuda.bindings.runtime`: the few functions that rille calls."""

from __future__ import annotations

import enum
from typing import Any

import double_device as device


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorLaunchFailure = 719


class cudaDeviceAttr(enum.IntEnum):
    cudaDevAttrComputeCapabilityMajor = 75
    cudaDevAttrComputeCapabilityMinor = 76


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


cudaHostAllocDefault = 0
capability = [8, 7]
"""Of the device that is doubled; tests change it."""
fault: dict[str, cudaError_t] = {}
"""Function -> the error it shall give."""


def _answer(name: str, *values: Any) -> tuple[Any, ...]:
    if name in fault:
        return (fault[name], *(None for _ in values))
    return (cudaError_t.cudaSuccess, *values)


def cudaDeviceGetAttribute(attr: cudaDeviceAttr, device: int) -> tuple[Any, ...]:
    return _answer("cudaDeviceGetAttribute", capability[attr - 75])


def cudaStreamCreate() -> tuple[Any, ...]:
    return _answer("cudaStreamCreate", device.STREAM)


def cudaStreamDestroy(stream: int) -> tuple[Any, ...]:
    assert stream == device.STREAM
    return _answer("cudaStreamDestroy")


def cudaMalloc(size: int) -> tuple[Any, ...]:
    return _answer("cudaMalloc", device.allocate(size))


def cudaHostAlloc(size: int, flags: int) -> tuple[Any, ...]:
    return _answer("cudaHostAlloc", device.allocate(size))


def cudaFree(devPtr: int) -> tuple[Any, ...]:
    device.release(devPtr)
    return _answer("cudaFree")


def cudaFreeHost(ptr: int) -> tuple[Any, ...]:
    device.release(ptr)
    return _answer("cudaFreeHost")


def cudaMemcpyAsync(
    dst: int, src: int, count: int, kind: cudaMemcpyKind, stream: int
) -> tuple[Any, ...]:
    assert stream == device.STREAM
    device.queue.append(lambda: device.write(dst, device.read(src, count)))
    return _answer("cudaMemcpyAsync")


def cudaStreamSynchronize(stream: int) -> tuple[Any, ...]:
    assert stream == device.STREAM
    device.wait()
    return _answer("cudaStreamSynchronize")
