"""int8 convolutions of few channels: pixels side by side stand in for channels."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.backends.rearrange.graph import INT8, INT32, KINDS, Graph, schema
from rille.backends.rearrange.tiles import Tiles, groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Kernel = NDArray[np.int8]

_IMAGE = 3
"""Most channels of an image."""


def fill_channels(graph: Graph, tiles: Tiles) -> bool:
    """Rewrite first convolutions, 3x3 in steps of two, and 1x1 convolutions where it is worth it.

    Args:
        graph: the network.
        tiles: what the processor computes at a time.

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
            made = _on_blocks(graph, step, kernel, tiles)
        elif kernel.shape[1:3] == (1, 1) and stride == (1, 1):
            count = tiles.best(kernel.shape, sides[1], tiles.cost(kernel.shape))
            made = _side_by_side(graph, step, step.inputs[0], [kernel], count) if count else []
        if made:
            graph.replace(step, made)
            found = True
    graph.drop_unread(KINDS.CONCATENATION)
    return found


def _kernel(graph: Graph, step: Any) -> Kernel | None:
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


def _on_blocks(graph: Graph, step: Any, kernel: Kernel, tiles: Tiles) -> list[Any]:
    """Return steps that do a 3x3 convolution in steps of two on blocks of 2x2 pixels.

    With even sides nothing is added in front and one row and column of zeros behind, the same as in
    whole blocks. Of a second block the kernel sees only the first row or column. Of a grey image
    that is repeated for a network of colours, blocks are repeated instead, which is less work.
    """
    source = step.inputs[0]
    grey = _repeated(graph, source)
    parts = [kernel] if grey is None else np.split(kernel, kernel.shape[3], axis=3)
    source = source if grey is None else grey
    batch, height, width, channels = graph.shape(source)
    shape = len(kernel), 2, 2, 4 * kernel.shape[3]
    count = tiles.best(shape, width // 2, tiles.cost(kernel.shape))
    if not count:
        return []
    blocks = graph.like(source, (batch, height // 2, width // 2, 4 * channels))
    parting = graph.step(KINDS.SPACE_TO_DEPTH, [source], blocks, blockSize=2)
    parted = [_parted(part) for part in parts]
    return [parting, *_side_by_side(graph, step, blocks, parted, count)]


def _repeated(graph: Graph, source: int) -> int | None:
    """Return the tensor of one channel that a tensor repeats; None if it is another kind."""
    for step in graph.steps(KINDS.CONCATENATION):
        first = int(step.inputs[0])
        if (
            step.outputs[0] == source
            and set(step.inputs) == {first}
            and graph.shape(first) == (*graph.shape(source)[:-1], 1)
            and graph.alike(first, source)
            and step.builtinOptions.fusedActivationFunction == schema.ActivationFunctionType.NONE
        ):
            return first
    return None


def _parted(kernel: Kernel) -> Kernel:
    """Return the weights for blocks of 2x2 pixels in the place of weights for pixels."""
    whole = np.zeros((len(kernel), 4, 4, kernel.shape[3]), np.int8)
    whole[:, :3, :3] = kernel
    parted = whole.reshape(-1, 2, 2, 2, 2, kernel.shape[3]).transpose(0, 1, 3, 2, 4, 5)
    return parted.reshape(len(kernel), 2, 2, -1)


def _side_by_side(
    graph: Graph, step: Any, source: int, kernels: list[Kernel], count: int
) -> list[Any]:
    """Return steps that do a convolution for some pixels of a row at a time.

    Args:
        graph: where they go.
        step: a convolution in steps of one that has the same bias, output and limits.
        source: what it works on.
        kernels: its weights; several where `source` is repeated, its channels as a whole. Nothing
            is added to the left of a row.
        count: how many pixels; they divide the width.
    """
    batch, height, width, channels = graph.shape(source)
    bias = graph.constant(step.inputs[2])
    assert bias is not None
    target, shape = step.outputs[0], (batch, height, width // count)
    steps = [graph.reshaped(source, (*shape, count * channels))]
    if len(kernels) > 1:
        joined = steps[-1].outputs[0]
        repeated = graph.like(joined, (*shape, len(kernels) * count * channels))
        parts = [joined] * len(kernels)
        steps.append(graph.step(KINDS.CONCATENATION, parts, repeated, axis=3))
    wide = np.concatenate([_widened(kernel, count) for kernel in kernels], axis=-1)
    done = copy.deepcopy(step)
    done.inputs = [
        steps[-1].outputs[0],
        graph.in_place_of(step.inputs[1], wide, count),
        graph.in_place_of(step.inputs[2], np.tile(bias, count), count),
    ]
    done.outputs = [graph.like(target, (*shape, count * len(kernels[0])))]
    done.builtinOptions.strideH = done.builtinOptions.strideW = 1
    return [*steps, done, graph.reshaped(done.outputs[0], graph.shape(target), target)]


def _widened(kernel: Kernel, count: int) -> Kernel:
    """Return the weights with which some pixels side by side are computed as channels of one."""
    outputs, rows, columns, channels = kernel.shape
    seen = groups(columns, count)
    wide = np.zeros((count, outputs, rows, seen * count, channels), np.int8)
    for pixel in range(count):
        wide[pixel, :, :, pixel : pixel + columns] = kernel
    return wide.reshape(count * outputs, rows, seen, -1)
