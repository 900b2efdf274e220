"""What convolutions cost on a processor, as far as it depends on how many channels there are.

XNNPACK computes a convolution in tiles: some channels of its output times some of its input, and
what is missing of a tile's sides is computed for nothing. The numbers were found by timing the 1x1
convolutions of moon-rocks and moon-craters with one to eight pixels side by side, on an Intel Xeon
with AMX and on the same one without it (LiteRT 2.3.0): costs are in the proportions measured, most
within a tenth.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from rille.board import instructions

_COUNTS = (1, 2, 4, 8, 16)
_WORTH = 0.95
"""What must be left of a cost for something to be changed."""


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """What is computed at a time.

    Attributes:
        outputs, inputs: channels.
        fixed: what is done for each channel of the output besides, in products.
    """

    outputs: int
    inputs: int
    fixed: int

    def cost(self, kernel: tuple[int, ...], count: int = 1) -> float:
        """Return what a pixel costs, in products.

        Args:
            kernel: outputs, rows, columns and inputs of the convolution for one pixel.
            count: pixels side by side that are computed as one, see `rille.backends.rearrange`.
        """
        outputs, rows, columns, inputs = kernel
        taps = rows * groups(columns, count)
        products = taps * _whole(count * inputs, self.inputs)
        return _whole(count * outputs, self.outputs) * (products + self.fixed) / count

    def best(self, kernel: tuple[int, ...], width: int, before: float) -> int:
        """Return with how many pixels side by side a convolution costs least.

        Args:
            kernel: see `cost`.
            width: of its output; what is returned divides it.
            before: what a pixel costs as it is.

        Returns:
            0 where it is hardly less than that.
        """
        counts = [count for count in _COUNTS if width % count == 0]
        best = min(counts, key=lambda count: self.cost(kernel, count))
        return best if self.cost(kernel, best) < _WORTH * before else 0


VECTORS = Tiles(outputs=16, inputs=8, fixed=43)
"""Vectors of 512 bits with products of bytes; taken for other processors as well."""
AMX = Tiles(outputs=64, inputs=64, fixed=290)
"""Tiles in registers of their own."""


def groups(columns: int, count: int) -> int:
    """Return how many groups of `count` pixels a kernel sees that computes so many at a time."""
    return -(-(columns - 1 + count) // count)


def _whole(channels: int, tile: int) -> int:
    return -(-channels // tile) * tile


@functools.cache
def tiles_here(cpuinfo: Path = Path("/proc/cpuinfo")) -> Tiles:
    """Return what this machine's processor computes at a time.

    Args:
        cpuinfo: where Linux tells what it can do.
    """
    return AMX if {"amx_tile", "amx_int8"} <= instructions(cpuinfo) else VECTORS
