"""Holds the answers of two machines together: `python differences.py EXPECTED.npz FOUND.npz`.

Exit code 0: every output number is the same; 1: some are not, or some are missing.
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
        found: the same from elsewhere, of the same input tensors.

    Returns:
        A line for each network, and whether all outputs are the same to the bit. Input tensors, and
        what comes of a machine's own, are counted but not judged: OpenCV's quick paths round in
        another way on another processor, which is why exact mode has its own.
    """
    whole = {name.replace("/own/", "/"): found[name] for name in found if "/own/" in name}
    given = {name: found[name] for name in found if "/own/" not in name}
    lines, same = [], expected.keys() == given.keys() and bool(expected)
    if expected.keys() != given.keys():
        missing = sorted(expected.keys() ^ given.keys())
        lines.append(f"only on one side: {', '.join(missing[:5])} ({len(missing)} in all)")
    for network in sorted({name.split("/")[0] for name in expected}):
        mine = [n for n in expected if n.startswith(f"{network}/") and n in given]
        outputs = [n for n in mine if not n.endswith("/input")]
        inputs = [n for n in mine if n.endswith("/input")]
        wrong, numbers, steps = _count(expected, given, outputs)
        apart, of, input_steps = _count(expected, given, inputs)
        led, of_led, led_steps = _count(expected, given | whole, outputs)
        same &= wrong == 0 and numbers > 0
        lines.append(
            f"{network}: {len(inputs)} frames, {numbers} output numbers, {wrong} mismatches"
            f"{f' up to {steps} steps' if wrong else ''}; "
            f"preprocessed: {apart} of {of} numbers differ"
            f"{f', by up to {input_steps} steps, and then' if apart else ''}"
            f"{f' {led} of {of_led} output numbers, by up to {led_steps}' if apart else ''}"
        )
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
