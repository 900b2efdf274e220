"""Memory of a CUDA device, through cuda-python or PyCUDA, whichever is installed.

Only what an engine needs: buffers on the device, pinned buffers on the host (copies from pageable
memory are not asynchronous), one stream, copies both ways.
"""

from __future__ import annotations

import ctypes
import importlib
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rille.errors import BackendUnavailableError, InferenceError
from rille.registry import package_version

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HOW = 'install one with: pip install "rille[tensorrt]"'


class Cuda(Protocol):
    """What an engine needs of a device.

    Attributes:
        name: the package and its version ("cuda-python 13.5.0").
        capability: compute capability of device 0, for example "8.7".
        stream: handle of the one stream that copies and engines share.
    """

    name: str
    capability: str
    stream: int

    def on_device(self, size: int) -> int:
        """Return the address of a new buffer of `size` bytes on the device."""
        ...

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return a new host array whose pages stay where they are."""
        ...

    def upload(self, address: int, values: NDArray[Any]) -> None:
        """Queue a copy from a pinned array to the device."""
        ...

    def download(self, values: NDArray[Any], address: int) -> None:
        """Queue a copy from the device to a pinned array."""
        ...

    def wait(self) -> None:
        """Return when everything queued is done.

        Raises:
            InferenceError: something queued failed.
        """
        ...

    def close(self) -> None:
        """Free every buffer and the stream."""
        ...


def open_cuda() -> Cuda:
    """Open device 0.

    Raises:
        BackendUnavailableError: neither package is installed, or no device answers.
    """
    try:
        runtime = importlib.import_module("cuda.bindings.runtime")
    except ImportError:
        pass
    else:
        return CudaPython(runtime)
    try:
        driver = importlib.import_module("pycuda.driver")
    except ImportError as wrong:
        raise BackendUnavailableError(
            f"neither cuda-python nor PyCUDA can be imported ({wrong}); {_HOW}"
        ) from None
    return PyCuda(driver)


class CudaPython:
    """Device 0 through `cuda.bindings.runtime`; see `Cuda`.

    Args:
        cudart: the module.

    Raises:
        BackendUnavailableError: no device answers.
    """

    def __init__(self, cudart: Any) -> None:
        self._cudart = cudart
        self._device: list[int] = []
        self._host: list[int] = []
        try:
            major, minor = (
                self._checked(cudart.cudaDeviceGetAttribute(attribute, 0))
                for attribute in (
                    cudart.cudaDeviceAttr.cudaDevAttrComputeCapabilityMajor,
                    cudart.cudaDeviceAttr.cudaDevAttrComputeCapabilityMinor,
                )
            )
            self._stream = self._checked(cudart.cudaStreamCreate())
        except (InferenceError, RuntimeError) as wrong:
            raise BackendUnavailableError(f"no CUDA device can be used ({wrong})") from None
        self.capability = f"{major}.{minor}"
        self.stream = int(self._stream)
        self.name = f"cuda-python {package_version('cuda-bindings')}"

    def on_device(self, size: int) -> int:
        """Return a new device buffer; see `Cuda.on_device`."""
        address = int(self._checked(self._cudart.cudaMalloc(size)))
        self._device.append(address)
        return address

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return a new pinned array; see `Cuda.pinned`."""
        size = int(np.prod(shape)) * dtype.itemsize
        flags = self._cudart.cudaHostAllocDefault
        address = int(self._checked(self._cudart.cudaHostAlloc(size, flags)))
        self._host.append(address)
        memory = (ctypes.c_uint8 * size).from_address(address)
        return np.ndarray(shape, dtype, memoryview(memory))

    def upload(self, address: int, values: NDArray[Any]) -> None:
        """Queue a copy to the device; see `Cuda.upload`."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(address, values.ctypes.data, values.nbytes, kind)

    def download(self, values: NDArray[Any], address: int) -> None:
        """Queue a copy from the device; see `Cuda.download`."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(values.ctypes.data, address, values.nbytes, kind)

    def _copy(self, target: int, source: int, size: int, kind: Any) -> None:
        self._checked(self._cudart.cudaMemcpyAsync(target, source, size, kind, self._stream))

    def wait(self) -> None:
        """Wait for the stream; see `Cuda.wait`."""
        self._checked(self._cudart.cudaStreamSynchronize(self._stream))

    def close(self) -> None:
        """Free everything; see `Cuda.close`."""
        for address in self._device:
            self._cudart.cudaFree(address)
        for address in self._host:
            self._cudart.cudaFreeHost(address)
        if self.stream:
            self._cudart.cudaStreamDestroy(self._stream)
        self._device, self._host, self.stream = [], [], 0

    def _checked(self, answer: tuple[Any, ...]) -> Any:
        """Return what a call gave besides its error code, which must be success."""
        code, *rest = answer
        if code != self._cudart.cudaError_t.cudaSuccess:
            raise InferenceError(f"CUDA: {getattr(code, 'name', code)}")
        return rest[0] if rest else None


class PyCuda:
    """Device 0 through `pycuda.driver`; see `Cuda`.

    PyCUDA's calls concern the context that is current in the calling thread, so each of them
    enters the device's primary context, the one that TensorRT uses, and leaves it again.

    Args:
        driver: the module.

    Raises:
        BackendUnavailableError: no device answers.
    """

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._buffers: dict[int, Any] = {}
        try:
            driver.init()
            device = driver.Device(0)
            self._context = device.retain_primary_context()
        except driver.Error as wrong:
            raise BackendUnavailableError(f"no CUDA device can be used ({wrong})") from None
        self.capability = "{}.{}".format(*device.compute_capability())
        self._stream = self._inside(driver.Stream)
        self.stream = int(self._stream.handle)
        self.name = f"pycuda {package_version('pycuda')}"

    def _inside(self, call: Any, *arguments: Any) -> Any:
        self._context.push()
        try:
            return call(*arguments)
        except self._driver.Error as wrong:
            raise InferenceError(f"CUDA: {wrong}") from None
        finally:
            self._context.pop()

    def on_device(self, size: int) -> int:
        """Return a new device buffer; see `Cuda.on_device`."""
        buffer = self._inside(self._driver.mem_alloc, size)
        self._buffers[int(buffer)] = buffer
        return int(buffer)

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return a new pinned array; see `Cuda.pinned`."""
        return np.asarray(self._inside(self._driver.pagelocked_empty, shape, dtype))

    def upload(self, address: int, values: NDArray[Any]) -> None:
        """Queue a copy to the device; see `Cuda.upload`."""
        self._inside(self._driver.memcpy_htod_async, address, values, self._stream)

    def download(self, values: NDArray[Any], address: int) -> None:
        """Queue a copy from the device; see `Cuda.download`."""
        self._inside(self._driver.memcpy_dtoh_async, values, address, self._stream)

    def wait(self) -> None:
        """Wait for the stream; see `Cuda.wait`."""
        self._inside(self._stream.synchronize)

    def close(self) -> None:
        """Free everything; see `Cuda.close`."""
        for buffer in self._buffers.values():
            self._inside(buffer.free)
        self._buffers = {}
