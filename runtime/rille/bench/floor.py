"""The least any program could do with the same networks: plain loops without rille's own work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.board import usable_cores
from rille.bundle import Bundle
from rille.network import Network
from rille.plan import Plan

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Floors:
    """Plain loops over the networks, one for each number of threads.

    Args:
        bundles: the networks.
        threads: a number of threads that is wanted besides 1, 2 and 4.

    Attributes:
        spent: threads -> milliseconds of the calls that count.
    """

    def __init__(self, bundles: Sequence[Bundle], threads: int) -> None:
        counts = {n for n in (1, 2, 4) if n <= usable_cores()} | {threads}
        self.spent: dict[int, list[float]] = {n: [] for n in sorted(counts)}
        self._networks = {n: [plain_network(bundle, n) for bundle in bundles] for n in self.spent}
        self._loops = {n: plain_loop(networks) for n, networks in self._networks.items()}

    def begin(self) -> None:
        """Begin to count anew."""
        self.spent = {n: [] for n in self.spent}

    def once(self, pixels: NDArray[np.uint8], threads: int) -> float:
        """Return the milliseconds of one frame with so many threads; it is not kept in `spent`."""
        return self._loops[threads](pixels)

    def row(self, pool: Iterable[NDArray[np.uint8]], threads: int) -> None:
        """Work on frames in a row with so many threads, and keep the milliseconds of each."""
        self.spent[threads] += [self.once(pixels, threads) for pixels in pool]

    def close(self) -> None:
        """Free the networks."""
        for networks in self._networks.values():
            for network in networks:
                network.close()


def plain_network(bundle: Bundle, threads: int = 1) -> Network:
    """Return a network as any other program runs it: in the steps of its file."""
    return Plan(threads=threads, plain=True).network(bundle, "")


def plain_loop(networks: Sequence[Network]) -> Callable[[NDArray[np.uint8]], float]:
    """Return resize, set_tensor, invoke and get_tensor of each network, one after the other.

    What is returned takes (H, W, 3) frames and returns milliseconds. The conversion to grey is
    left out as well: a one-channel network resizes one channel.
    """
    inputs = [n.variant.input for n in networks]
    buffers = [np.full(spec.shape, 1, spec.numpy_dtype) for spec in inputs]
    sizes = [spec.shape[2:0:-1] for spec in inputs]

    def body(pixels: NDArray[np.uint8]) -> float:
        planes = [pixels if spec.shape[3] == 3 else pixels[:, :, 0].copy() for spec in inputs]
        start = time.perf_counter_ns()
        for network, buffer, size, plane in zip(networks, buffers, sizes, planes, strict=True):
            cv2.resize(plane, size)
            network.backend.infer(buffer)
        return (time.perf_counter_ns() - start) / 1e6

    return body
