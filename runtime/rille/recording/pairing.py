"""Which feature of one result is which of another, where their order is not the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_REACH = 0.5
"""Features are the same thing when their centres are within this share of the half axis."""
_LEAST_PX = 2.0


def pair_features(
    left: Sequence[Mapping[str, Any]], right: Sequence[Mapping[str, Any]]
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Pair the features of two results: same label, nearest centre, each once, nearest first.

    Args:
        left, right: as in a result record: label, x_px, y_px, semi_major_px, ...

    Returns:
        The pairs; features without a partner are in none.
    """
    close = []
    for i, one in enumerate(left):
        reach = max(_LEAST_PX, _REACH * one["semi_major_px"])
        for j, other in enumerate(right):
            apart = max(abs(one["x_px"] - other["x_px"]), abs(one["y_px"] - other["y_px"]))
            if one["label"] == other["label"] and apart <= reach:
                close.append((apart, i, j))
    taken: tuple[set[int], set[int]] = (set(), set())
    pairs = []
    for _, i, j in sorted(close):
        if i not in taken[0] and j not in taken[1]:
            taken[0].add(i)
            taken[1].add(j)
            pairs.append((i, j))
    return [(left[i], right[j]) for i, j in sorted(pairs)]


def are_features(items: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether these are features, with all that pairing needs."""
    numbers = ("x_px", "y_px", "semi_major_px")
    return all(
        "label" in item and all(isinstance(item.get(n), int | float) for n in numbers)
        for item in items
    )
