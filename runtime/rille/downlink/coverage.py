"""What a choice of frames shows, and what every k-th frame would have shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rille.downlink.sight import Sight

_RARE = 0.1


@dataclass(frozen=True, slots=True)
class Coverage:
    """What of a run the pictures sent show.

    Attributes:
        frames: frames of which a picture is sent.
        classes: labels that are on at least one of them.
        of_classes: labels that the run saw.
        kinds: kinds of scene (see `Sight.kind`) that they show.
        of_kinds: kinds of scene that the run saw.
        rare: frames sent whose kind fewer than a tenth of all frames are of.
        of_rare: such frames in the run.
    """

    frames: int
    classes: int
    of_classes: int
    kinds: int
    of_kinds: int
    rare: int
    of_rare: int

    def to_json(self) -> dict[str, Any]:
        """Return everything, for a file."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __str__(self) -> str:
        return (
            f"pictures of {self.frames} frames show {self.classes} of {self.of_classes} classes, "
            f"{self.kinds} of {self.of_kinds} kinds of scene, {self.rare} of {self.of_rare} "
            "frames of rare kinds"
        )


def cover(sights: Sequence[Sight], sent: set[int]) -> Coverage:
    """Return what pictures of the frames with the indices `sent` show."""
    kinds = Counter(sight.kind for sight in sights)
    rare = {kind for kind, count in kinds.items() if count < _RARE * len(sights)}
    shown = [sight for sight in sights if sight.index in sent]
    return Coverage(
        frames=len(shown),
        classes=len({label for sight in shown for label in sight.labels}),
        of_classes=len({label for sight in sights for label in sight.labels}),
        kinds=len({sight.kind for sight in shown}),
        of_kinds=len(kinds),
        rare=sum(sight.kind in rare for sight in shown),
        of_rare=sum(sight.kind in rare for sight in sights),
    )


def every_kth(sights: Sequence[Sight], sizes: Sequence[int], budget: int) -> Coverage:
    """Return what every k-th frame would show, k being the least that keeps within the budget.

    Args:
        sights: the frames in order.
        sizes: bytes of each.
        budget: bytes in all.
    """
    for step in range(1, len(sights) + 1):
        if sum(sizes[::step]) <= budget:
            return cover(sights, {sight.index for sight in sights[::step]})
    return cover(sights, set())
