"""A converted network in steps that CPUs are quicker at, with the same answers to the bit.

What a converter writes leaves much of a CPU idle wherever a tensor has one or a few channels, for
kernels compute eight to sixteen at a time: in the first convolution, in heads, in the enlarging of
a mask. Here pixels stand in for the channels that are missing. And "this image, or its mirror
image" is worked out pixel by pixel on one core, where whole columns can be fetched at once.
Integers add up the same in any order, so nothing else changes: moon-craters takes 7.1 ms instead of
11.7 on two cores of an Intel Xeon with AMX, 13.9 instead of 22.3 on one.
"""

from __future__ import annotations

from rille_export.rearrange.enlarging import enlarge_in_strips
from rille_export.rearrange.graph import Graph
from rille_export.rearrange.mirrors import fetch_columns
from rille_export.rearrange.narrow import fill_channels

__all__ = ["rearranged"]


def rearranged(content: bytes) -> bytes:
    """Return a network with the same inputs, outputs and answers, and quicker steps.

    Args:
        content: a `.tflite` file.

    Returns:
        The file; the same bytes where there is nothing to do.
    """
    graph = Graph(content)
    changed = [fill_channels(graph), enlarge_in_strips(graph), fetch_columns(graph)]
    return graph.packed() if any(changed) else content
