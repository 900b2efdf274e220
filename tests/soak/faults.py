"""A camera and an engine that go wrong at random, with an account of how often."""

from __future__ import annotations

import ctypes
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.bundle import Bundle
from rille.errors import FrameDecodeError, InferenceError, SinkError
from rille.network import Network
from rille.sinks import Sink
from rille.sources import Source
from rille.uri import SourceUri

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.result import Result

_DAMAGED, _FAILING, _ODD = 0.01, 0.001, 0.03
"""Shares of frames that cannot be decoded, on which the engine fails, and that look strange."""
_SPOILT_EVERY, _FLIP_EVERY, _SWAP_EVERY = 5000, 1000, 7000


class FaultyCamera(Source):
    """Stands in for a camera: frames as fast as they are asked for, with faults by the dice.

    Args:
        pictures: what it sees, in turns.
        frames: how many.
        network: returns the one that flies, which the faults concern.
        swap: takes another network over.
        seed: of the faults.

    Attributes:
        injected: fault -> how often.
    """

    def __init__(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        frames: int,
        network: Callable[[], Network],
        swap: Callable[[Network], None],
        seed: int,
    ) -> None:
        super().__init__(SourceUri("soak://", "soak", "", {}), None)
        self.injected: Counter[str] = Counter()
        self._pictures, self._frames = pictures, frames
        self._network, self._swap = network, swap
        self._dice = random.Random(seed)

    @property
    def length(self) -> int | None:
        return self._frames

    def describe(self) -> str:
        return f"{self._frames} frames with faults"

    def _next(self) -> Any:
        index = self.index
        if index >= self._frames:
            return None
        self._disturb(index)
        if self._dice.random() < _DAMAGED:
            self.injected["damaged"] += 1
            raise FrameDecodeError(f"frame {index} is damaged")
        if self._dice.random() < _FAILING and index % _SWAP_EVERY != _SWAP_EVERY - 1:
            # Not where another network is about to fly: the one that fails would see no frame.
            self.injected["failing"] += 1
            network = self._network()
            network.backend = _FailsOnce(network, network.backend)
        return self._picture(index), f"frame {index}", index * 1_000_000, None

    def _disturb(self, index: int) -> None:
        """Spoil what flies, now and then; never twice at a time, so that each can be told."""
        network = self._network()
        if index % _SPOILT_EVERY == _SPOILT_EVERY // 2:
            self.injected["spoilt"] += 1
            network.backend = _Spoilt(network.backend)
        if index % _FLIP_EVERY == _FLIP_EVERY // 3:
            assert network.bundle is not None
            network.bundle.verify(network.variant.file)  # the last flip was made good
            self.injected["flipped"] += 1
            flip(network.bundle, network.variant.file, self._dice)
        if index % _SWAP_EVERY == _SWAP_EVERY - 1:
            self.injected["swapped"] += 1
            self._swap(network.again())

    def _picture(self, index: int) -> NDArray[np.uint8]:
        picture = self._pictures[index % len(self._pictures)]
        if self._dice.random() >= _ODD:
            return picture
        kind = self._dice.choice(("black", "white", "small", "colour"))
        self.injected[kind] += 1
        if kind == "small":
            return np.ascontiguousarray(picture[: 3 + index % 60, : 5 + index % 90])
        if kind == "colour":
            return np.dstack([picture] * 3)
        return np.full_like(picture, 0 if kind == "black" else 255)


class _FailsOnce:
    """Stands in for an engine that fails on one frame."""

    rebuilds_aside = True

    def __init__(self, network: Network, real: Any) -> None:
        self._network, self._real = network, real
        self.name, self.threads = real.name, real.threads

    def infer(self, tensor: Any) -> dict[str, Any]:
        self._network.backend = self._real
        raise InferenceError("failed on purpose")

    def close(self) -> None:
        self._real.close()


class _Spoilt:
    """Stands in for an engine in whose own copy of the weights a bit has flipped."""

    rebuilds_aside = True

    def __init__(self, real: Any) -> None:
        self._real, self.name, self.threads = real, real.name, real.threads

    def infer(self, tensor: Any) -> dict[str, Any]:
        return {role: values ^ 0x20 for role, values in self._real.infer(tensor).items()}

    def close(self) -> None:
        self._real.close()


class FaultySink(Sink):
    """Stands in for a place to write to that refuses now and then."""

    takes_pixels = False
    recovers = True

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)

    def write(self, result: Result) -> None:
        if self._dice.random() < 0.0005:
            raise SinkError("refused on purpose")


def flip(bundle: Bundle, name: str, dice: random.Random) -> None:
    """Flip a bit of a bundle's bytes where they lie in memory, as a particle would."""
    content = bundle.files[name]
    at = dice.randrange(len(content))
    byte = ctypes.c_ubyte.from_address(id(content) + bytes.__basicsize__ - 1 + at)
    byte.value ^= 1 << dice.randrange(8)
