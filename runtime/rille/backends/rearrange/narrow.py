"""int8 convolutions of few channels: pixels side by side stand in for channels."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.backends.rearrange.graph import INT8, INT32, KINDS, Graph, schema

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDE = 16
"""Channels that kernels compute at a time."""
_IMAGE, _HEAD, _THIN = 3, 2, 32
"""Most channels of an image; most answers of a head; most channels where two pixels are better."""
_MOST = 8
"""Pixels side by side at most: the more, the more products with zero there are."""


def fill_channels(graph: Graph) -> bool:
    """Rewrite first convolutions, 3x3 in steps of two, heads and other thin 1x1 convolutions.

    Returns:
        Whether there is any.
    """
    found = False
    for step in graph.steps(KINDS.CONV_2D):
        kernel = _kernel(graph, step)
        if kernel is None:
            continue
        how, sides = step.builtinOptions, graph.shape(step.inputs[0])[1:3]
        stride = how.strideH, how.strideW
        made: list[Any] = []
        if (
            kernel.shape[1:3] == (3, 3)
            and kernel.shape[3] <= _IMAGE
            and stride == (2, 2)
            and how.padding == schema.Padding.SAME
            and not any(side % 2 for side in sides)
        ):
            made = _on_blocks(graph, step, kernel)
        elif kernel.shape[1:3] == (1, 1) and stride == (1, 1):
            outputs, *_, channels = kernel.shape
            count = 1
            if outputs <= _HEAD:
                count = _together(outputs, sides[1])
            elif max(outputs, channels) <= _THIN:
                count = 2 - sides[1] % 2
            made = _side_by_side(graph, step, step.inputs[0], kernel, count)
        if made:
            graph.replace(step, made)
            found = True
    return found


def _kernel(graph: Graph, step: Any) -> NDArray[np.int8] | None:
    """Return the weights of a convolution, (outputs, height, width, inputs).

    None where it is not of int8, its weights have no plain zero, it leaves pixels out between those
    it looks at, or it is several beside one another.
    """
    types = [graph.type(tensor) for tensor in (*step.inputs, *step.outputs) if tensor >= 0]
    how = step.builtinOptions
    if types != [INT8, INT8, INT32, INT8] or (how.dilationHFactor, how.dilationWFactor) != (1, 1):
        return None
    kernel = graph.constant(step.inputs[1])
    if kernel is None or graph.offset(step.inputs[1]):
        return None
    return kernel if kernel.shape[3] == graph.shape(step.inputs[0])[3] else None


def _together(channels: int, width: int) -> int:
    """Return how many pixels make up for few channels; a power of two that divides the width."""
    count = _MOST
    while count > 1 and (count * channels > _WIDE or width % count):
        count //= 2
    return count


def _on_blocks(graph: Graph, step: Any, kernel: NDArray[np.int8]) -> list[Any]:
    """Return steps that do a 3x3 convolution in steps of two on blocks of 2x2 pixels.

    With even sides nothing is added in front and one row and column of zeros behind, the same as in
    whole blocks. Of a second block the kernel sees only the first row or column.
    """
    source = step.inputs[0]
    batch, height, width, channels = graph.shape(source)
    blocks = graph.like(source, (batch, height // 2, width // 2, 4 * channels))
    parting = graph.step(KINDS.SPACE_TO_DEPTH, [source], blocks, blockSize=2)
    whole = np.zeros((len(kernel), 4, 4, channels), np.int8)
    whole[:, :3, :3] = kernel
    parted = whole.reshape(-1, 2, 2, 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    parted = parted.reshape(-1, 2, 2, 4 * channels)
    together = _together(4 * channels, width // 2)
    return [parting, *_side_by_side(graph, step, blocks, parted, together)]


def _side_by_side(
    graph: Graph, step: Any, source: int, kernel: NDArray[np.int8], count: int
) -> list[Any]:
    """Return steps that do a convolution for some pixels of a row at a time.

    Args:
        graph: where they go.
        step: a convolution in steps of one that has the same bias, output and limits.
        source: what it works on.
        kernel: its weights; nothing is added to the left of a row.
        count: how many pixels; they divide the width.

    Returns:
        No step where it would be the same one.
    """
    if source == step.inputs[0] and count == 1:
        return []
    batch, height, width, channels = graph.shape(source)
    outputs, rows, columns, _ = kernel.shape
    groups = -(-(columns - 1 + count) // count)
    wide = np.zeros((count, outputs, rows, groups * count, channels), np.int8)
    for pixel in range(count):
        wide[pixel, :, :, pixel : pixel + columns] = kernel
    bias = graph.constant(step.inputs[2])
    assert bias is not None
    target, shape = step.outputs[0], (batch, height, width // count)
    joined = graph.reshaped(source, (*shape, count * channels))
    done = copy.deepcopy(step)
    done.inputs = [
        joined.outputs[0],
        graph.in_place_of(step.inputs[1], wide.reshape(count * outputs, rows, groups, -1), count),
        graph.in_place_of(step.inputs[2], np.tile(bias, count), count),
    ]
    done.outputs = [graph.like(target, (*shape, count * outputs))]
    done.builtinOptions.strideH = done.builtinOptions.strideW = 1
    return [joined, done, graph.reshaped(done.outputs[0], graph.shape(target), target)]
