"""Holds the answers of two machines together: `python differences.py EXPECTED.npz FOUND.npz`.

Exit code 0: every number that networks are shown and give is the same; 1: some are not, or missing.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Answers = dict[str, NDArray[Any]]


def differences(expected: Answers, found: Answers) -> tuple[list[str], bool]:
    """Count the numbers that differ, for each network.

    Args:
        expected: as `answers.answers` returns.
        found: the same from elsewhere.

    Returns:
        A line for each network, and whether all numbers are the same to the bit.
    """
    lines, same = [], expected.keys() == found.keys() and bool(expected)
    if expected.keys() != found.keys():
        missing = sorted(expected.keys() ^ found.keys())
        lines.append(f"only on one side: {', '.join(missing[:5])} ({len(missing)} in all)")
    for network in sorted({name.split("/")[0] for name in expected}):
        both = [n for n in expected if n.startswith(f"{network}/") and n in found]
        told = []
        for what, shown in (("input", True), ("output", False)):
            names = [n for n in both if n.endswith("/input") == shown]
            wrong, numbers, steps = _count(expected, found, names)
            same &= wrong == 0 and numbers > 0
            far = f" up to {steps} steps" if wrong else ""
            told.append(f"{numbers} {what} numbers, {wrong} mismatches{far}")
        lines.append(f"{network}: {'; '.join(told)}")
    return lines, bool(same)


def _count(expected: Answers, found: Answers, names: list[str]) -> tuple[int, int, int]:
    """Return how many numbers differ, of how many, and by how many steps of an integer at most."""
    wrong = numbers = steps = 0
    for name in names:
        one, other = expected[name], found[name]
        numbers += one.size
        if one.shape != other.shape or one.dtype != other.dtype:
            wrong, steps = wrong + one.size, max(steps, 255)
            continue
        gaps = np.abs(one.astype(np.int64) - other.astype(np.int64))
        wrong, steps = wrong + int((one != other).sum()), max(steps, int(gaps.max(initial=0)))
    return wrong, numbers, steps


def main(words: list[str]) -> int:
    """See the module's description."""
    with np.load(words[0]) as expected, np.load(words[1]) as found:
        lines, same = differences(dict(expected), dict(found))
    print("\n".join(lines))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
