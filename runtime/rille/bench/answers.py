"""Answers that are given while they are timed, held against those of a plain run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rille.bench.floor import plain_network
from rille.bundle import Bundle
from rille.errors import CheckFailedError
from rille.light import Turn
from rille.network import Network
from rille.result import Classification, Result, Segmentation

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TURNS = {
    t.name: t for m in (False, True) for q in range(4) for t in [Turn(mirrored=m, quarters=q)]
}
"""What `Segmentation.turned` says -> the turn."""


class Answers:
    """Notes answers while frames are timed, and holds them against plain runs afterwards.

    Attributes:
        noted: answers noted.
    """

    def __init__(self) -> None:
        self.noted = 0
        self._seen: dict[tuple[str, int, str], set[bytes]] = {}

    def note(self, place: int, result: Result) -> None:
        """Keep the digests of a frame's answers; takes about 0.1 ms, after its publication.

        Args:
            place: which of the frames of `check` it was.
            result: what came of it.
        """
        found: dict[str, Classification | Segmentation | None] = {
            "classify": result.classification,
            "segment": result.segmentation,
        }
        for stage, answer in found.items():
            if answer is not None:
                self.noted += 1
                turned = answer.turned if isinstance(answer, Segmentation) else ""
                self._seen.setdefault((stage, place, turned), set()).add(_digest(answer))

    def check(self, frames: Sequence[NDArray[np.uint8]], bundles: Mapping[str, Bundle]) -> None:
        """Work on each frame once more, by plain networks of their own, and compare to the bit.

        Args:
            frames: (H, W, 3) or (H, W) uint8, by place.
            bundles: stage -> the bundle that answered.

        Raises:
            CheckFailedError: an answer differs.
        """
        networks = {stage: plain_network(bundle) for stage, bundle in bundles.items()}
        for (stage, place, turned), digests in self._seen.items():
            plain = _plain(networks[stage], frames[place], _TURNS[turned])
            if digests != {_digest(plain)}:
                raise CheckFailedError(
                    f"{networks[stage].contract.name}: the answer for frame {place} was not the "
                    "same while it was timed as in a plain run: the times mean nothing; see "
                    "`rille doctor`"
                )
        for network in networks.values():
            network.close()


def _plain(
    network: Network, pixels: NDArray[np.uint8], turn: Turn
) -> Classification | Segmentation:
    answer, _ = network.run(np.ascontiguousarray(turn.apply(pixels)))
    return turn.restore(answer) if isinstance(answer, Segmentation) else answer


def _digest(answer: Classification | Segmentation) -> bytes:
    found = hashlib.blake2b(digest_size=16)
    if isinstance(answer, Classification):
        found.update(np.ascontiguousarray(answer.logits).data)
        found.update(f"{answer.label} {answer.probability!r} {answer.abstained} ".encode())
        found.update(f"{answer.ood_score!r}".encode())
    else:
        found.update(np.ascontiguousarray(answer.mask).data)
        found.update(repr(answer.features).encode())
    return found.digest()
