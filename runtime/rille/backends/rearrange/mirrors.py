"""Choices between a tensor and its mirror image: whole columns, fetched in one of two orders."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rille.backends.rearrange.graph import FLOAT32, INT8, KINDS, Graph


def fetch_columns(graph: Graph) -> bool:
    """Rewrite `select(which, x, reverse(x))`: one truth value, x reversed along one axis.

    Returns:
        Whether there is any.
    """
    mirrored = {
        step.outputs[0]: (step.inputs[0], graph.constant(step.inputs[1]))
        for step in graph.steps(KINDS.REVERSE_V2)
    }
    orders: dict[tuple[int, int, bool], int] = {}
    for step in graph.steps(KINDS.SELECT_V2):
        which, *both = (int(tensor) for tensor in step.inputs)
        last = both[1] in mirrored
        source, axes = mirrored.get(both[last], (None, None))
        if (
            source != both[not last]
            or axes is None
            or axes.size != 1
            or math.prod(graph.shape(which)) != 1
            or graph.type(source) not in (INT8, FLOAT32)
        ):
            continue
        axis = int(axes[0]) % len(graph.shape(source))
        key = which, graph.shape(source)[axis], last
        ordering = [] if key in orders else _order(graph, *key)
        if ordering:
            orders[key] = ordering[-1].outputs[0]
        fetching = _fetched(graph, source, orders[key], axis, step.outputs[0])
        graph.replace(step, [*ordering, *fetching])
    graph.drop_unread(KINDS.REVERSE_V2)
    return bool(orders)


def _order(graph: Graph, which: int, count: int, last: bool) -> list[Any]:
    """Return steps whose result are the numbers below `count`, upwards or downwards.

    Args:
        graph: where they go.
        which: one truth value.
        count: of numbers.
        last: whether they go downwards where it is false.
    """
    upwards = np.arange(count)
    both = [graph.add(upwards), graph.add(upwards[::-1])]
    alone = graph.reshaped(which, (1,))
    chosen = [alone.outputs[0], *(both if last else both[::-1])]
    return [alone, graph.step(KINDS.SELECT_V2, chosen, graph.like(both[0], (count,)))]


def _fetched(graph: Graph, source: int, order: int, axis: int, output: int) -> list[Any]:
    """Return steps that fetch slices of a tensor along an axis in some order.

    The axis comes next to the batch for that, so that a slice lies in one piece.
    """
    if axis <= 1:
        return [graph.fetched(source, order, axis, output)]
    turn = [0, axis, *(k for k in range(1, len(graph.shape(source))) if k != axis)]
    there = graph.transposed(source, turn)
    fetched = graph.fetched(there.outputs[0], order, 1)
    back = graph.transposed(fetched.outputs[0], np.argsort(turn).tolist(), output)
    return [there, fetched, back]
