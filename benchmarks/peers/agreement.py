"""Do all programs say the same? Their answers are held against rille's parts run one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.network import Network
from rille.result import Segmentation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.peers.peer import Workload

MASK_LEAST = 0.98
"""Share of equal mask pixels from which two programs are said to agree: floats and int8 do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How far the answers of a program are those of the bundle's own preprocessing and network.

    Attributes:
        labels: share of frames with the same label; None without a classifier.
        mask: share of equal mask pixels over all frames; None without a segmenter.
        steady: whether every timed answer for a frame was the one given before the clock ran.
    """

    labels: float | None
    mask: float | None
    steady: bool

    @property
    def same(self) -> bool:
        """Whether it does the same work, as far as its answers tell."""
        return self.labels in (None, 1.0) and (self.mask is None or self.mask >= MASK_LEAST)

    def __str__(self) -> str:
        parts = [] if self.labels is None else [f"labels {self.labels:.0%}"]
        parts += [] if self.mask is None else [f"mask {self.mask:.1%}"]
        marks = "" if self.same else "**differs:** "
        return marks + ", ".join(parts) + ("" if self.steady else ", **not steady**")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """The answers expected for each frame of the pool.

    Attributes:
        labels: (n,) or empty.
        masks: (n, h, w) uint8 or empty.
    """

    labels: NDArray[np.int64]
    masks: NDArray[np.uint8]


def reference_of(workload: Workload, pool: NDArray[np.uint8]) -> Reference:
    """Return what the bundles' networks say, loaded one by one with one thread.

    Args:
        workload: the bundles.
        pool: (n, H, W, 3) RGB uint8.
    """
    labels: list[int] = []
    masks: list[Any] = []
    for bundle in workload.bundles().values():
        network = Network.load(bundle)
        for pixels in pool:
            found, _ = network.run(pixels)
            if isinstance(found, Segmentation):
                masks.append(found.mask.copy())
            elif bundle.manifest.task == "multilabel":
                bits = enumerate(found.labels)
                labels.append(sum(1 << k for k, name in bits if name in found.present))
            else:
                labels.append(int(found.probabilities.argmax()))
        network.close()
    return Reference(labels=np.array(labels, np.int64), masks=np.array(masks, np.uint8))


def compare(reference: Reference, labels: Any, masks: Any, steady: bool) -> Agreement:
    """Hold a program's answers for the pool against the reference.

    Args:
        reference: the answers expected.
        labels: (n,) what it said.
        masks: (n, h, w) what it said, or empty.
        steady: see `Agreement`.
    """
    found, mask = np.asarray(labels), np.asarray(masks)
    return Agreement(
        labels=float(np.mean(found == reference.labels)) if len(reference.labels) else None,
        mask=_equal_share(mask, reference.masks) if len(reference.masks) else None,
        steady=steady,
    )


def _equal_share(mask: NDArray[Any], expected: NDArray[np.uint8]) -> float:
    return float(np.mean(mask == expected)) if mask.shape == expected.shape else 0.0


def steady_answers(digests: Sequence[int], timed: Sequence[tuple[int, int]]) -> bool:
    """Say whether every timed answer is the one given for the same frame before.

    Args:
        digests: of the answers for each frame of the pool.
        timed: (frame of the pool, digest of the answer given while the clock ran).
    """
    return all(digests[which] == digest for which, digest in timed)
