"""How a network's out-of-distribution score does on pictures that it was not made for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rille.errors import DatasetError, FrameDecodeError
from rille.metrics import area_under_roc, wilson_interval
from rille.network import Network
from rille.result import Classification
from rille.sources import open_source

MOST = 5000
"""Pictures looked at: a simulator's stream need not end."""
_WAIT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Told:
    """How well some pictures are told from those of a split.

    Attributes:
        source: where they came from.
        pictures: how many were looked at.
        flagged: how many of them are out of distribution.
        auroc: how often one of them has the higher score of two, the other from the split.
    """

    source: str
    pictures: int
    flagged: int
    auroc: float

    def __str__(self) -> str:
        low, high = wilson_interval(self.flagged, self.pictures)
        return (
            f"unfamiliar {self.source}: {100 * self.flagged / self.pictures:.1f} % of "
            f"{self.pictures} pictures flagged ({100 * low:.1f} to {100 * high:.1f}); AUROC "
            f"{self.auroc:.3f} beside the split"
        )


def told_apart(network: Network, source: str, inside: Sequence[float]) -> Told:
    """Score pictures that a classifier was not made for.

    Args:
        network: with an out-of-distribution score.
        source: a folder of images, or the URI of a source; damaged images are left out.
        inside: scores of pictures that it was made for, at least one.

    Raises:
        DatasetError: there is no picture that can be read.
        SourceError: the source cannot be opened.
    """
    scores: list[float] = []
    with open_source(source if "://" in source else f"images://{source}") as stream:
        while not stream.ended and len(scores) < MOST:
            try:
                frame = stream.read(_WAIT_S)
            except FrameDecodeError:
                continue
            if frame is None:
                continue
            answer, _ = network.run(frame.pixels)
            if isinstance(answer, Classification) and answer.ood_score is not None:
                scores.append(answer.ood_score)
    if not scores:
        raise DatasetError(f"{source}: gave no picture that can be scored")
    return Told(
        source=source,
        pictures=len(scores),
        flagged=sum(score > 1.0 for score in scores),
        auroc=area_under_roc(inside, scores),
    )
