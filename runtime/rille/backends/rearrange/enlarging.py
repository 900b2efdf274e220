"""int8 maps of few channels made twice as large: strips of a map stand in for channels."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from rille.backends.rearrange.graph import INT8, KINDS, Graph

_WIDE, _FEW = 16, 4
"""Channels that kernels compute at a time, and those of a map for which this is worth it."""


def enlarge_in_strips(graph: Graph) -> bool:
    """Rewrite bilinear enlarging by two of maps with one to four channels.

    Returns:
        Whether there is any.
    """
    found = False
    for step in graph.steps(KINDS.RESIZE_BILINEAR):
        source, target = step.inputs[0], step.outputs[0]
        (batch, height, width, channels), how = graph.shape(source), step.builtinOptions
        strips = _WIDE // channels if channels <= _FEW else 1
        while strips > 1 and width % strips:
            strips //= 2
        if (
            graph.type(source) == INT8
            and batch == 1
            and strips > 1
            and graph.shape(target)[1:3] == (2 * height, 2 * width)
            and how.halfPixelCenters
            and not how.alignCorners
        ):
            graph.replace(step, _in_strips(graph, step, strips))
            found = True
    return found


def _in_strips(graph: Graph, step: Any, strips: int) -> list[Any]:
    """Return steps that enlarge upright strips of a map at the same time.

    Each strip has the columns beside it at its edges, which count a quarter there; at the map's own
    edges those are its outermost ones once more, as in the step itself. Their own two columns are
    dropped afterwards.
    """
    source, target = step.inputs[0], step.outputs[0]
    _, height, width, channels = graph.shape(source)
    part = width // strips
    wide = part + 2
    columns = part * np.arange(strips)[:, None] + np.arange(-1, part + 1)
    steps: list[Any] = []

    def then(step: Any) -> int:
        steps.append(step)
        return int(step.outputs[0])

    x = then(graph.reshaped(source, (height, width, channels)))
    x = then(graph.transposed(x, (1, 0, 2)))
    x = then(graph.fetched(x, graph.add(columns.clip(0, width - 1).ravel()), 0))
    x = then(graph.reshaped(x, (strips, wide, height, channels)))
    x = then(graph.transposed(x, (1, 2, 0, 3)))
    x = then(graph.reshaped(x, (1, wide, height, strips * channels)))
    larger = copy.deepcopy(step)
    larger.inputs = [x, graph.add((2 * wide, 2 * height))]
    larger.outputs = [graph.like(target, (1, 2 * wide, 2 * height, strips * channels))]
    x = then(larger)
    kept = (1, 2 * part, 2 * height, strips * channels)
    inner = [x, graph.add((0, 2, 0, 0)), graph.add(kept)]
    x = then(graph.step(KINDS.SLICE, inner, graph.like(target, kept)))
    x = then(graph.reshaped(x, (2 * part, 2 * height, strips, channels)))
    x = then(graph.transposed(x, (1, 2, 0, 3)))
    then(graph.reshaped(x, graph.shape(target), target))
    return steps
