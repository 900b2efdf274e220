"""One order in which products of frames are worth sending, whatever the budget.

The worth of a set of products is the sum, over their kinds, of two things: a facility location (how
well the frames sent stand for all frames, each weighted by its interest), and how many kinds of
scene are shown, the second of a kind counting half the first, the third half the second. Such a
function is submodular (what is like something already sent adds little), so taking the product
with the most worth a byte, again and again, comes within a constant factor of the best set (Krause
and Golovin 2014), and gains that were computed once never grow: they need computing anew only when
they come to the top (Minoux 1978).
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rille.downlink.sight import Sight, descriptors

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS: Mapping[str, float] = {
    "record": 0.05,
    "thumbnail": 0.50,
    "mask": 0.04,
    "crop": 0.05,
    "full": 0.15,
}
"""Kind of product -> how much it adds to what is known of a frame."""
_GROUND = 2000
"""Frames, at most, that the chosen ones are to stand for."""
_ALONE = 0.02
"""Share of its interest that a frame keeps when another stands for it completely."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Product:
    """Something that can be sent.

    Attributes:
        index: index of its frame.
        kind: one of `KINDS`.
        name: of its file.
        size: in bytes.
        label: what is in a crop; empty otherwise.
    """

    index: int
    kind: str
    name: str
    size: int
    label: str = ""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A product at its place in the order.

    Attributes:
        product: the product.
        gain: what it adds to all before it, as a share of what everything together is worth.
        why: the reason in a word or two.
    """

    product: Product
    gain: float
    why: str


def interest(sights: Sequence[Sight], priority: Mapping[str, float]) -> NDArray[np.float64]:
    """Return the weight of each frame: base, doubt, rarity, and its labels by priority.

    Rarity is that of the kind of scene, 0 where all frames are of it, 1 where one is.
    """
    total = len(sights)
    kinds = Counter(sight.kind for sight in sights)
    weights = []
    for sight in sights:
        rarity = math.log(total / kinds[sight.kind]) / math.log(max(total, 2))
        raised = sum((priority.get(k, 1.0) - 1.0) * s for k, s in sight.labels.items())
        weights.append(sight.worth * max(0.05, 0.25 + sight.doubt + rarity + raised))
    return np.array(weights, np.float64)


class Order:
    """The order of all products of some frames.

    Args:
        sights: the frames.
        products: for each frame its products, the record first: the others come after it.
        priority: label -> how much it matters; 1 where it is not named.
        overhead: bytes that a product takes besides its content.
    """

    def __init__(
        self,
        sights: Sequence[Sight],
        products: Sequence[Sequence[Product]],
        priority: Mapping[str, float],
        overhead: int,
    ) -> None:
        self._sights, self._products = sights, products
        self._overhead = overhead
        self._weights = interest(sights, priority)
        self._priority = priority
        ground = np.unique(np.linspace(0, len(sights) - 1, min(_GROUND, len(sights))).astype(int))
        self.alike = _similarity(descriptors(list(sights)), ground)
        self._ground_weights = self._weights[ground] / max(float(self._weights.sum()), 1e-9)
        self._best = {kind: np.zeros(len(ground)) for kind in KINDS}
        self._scenes = len({sight.kind for sight in sights})
        self._shown: Counter[tuple[str, tuple[str, ...]]] = Counter()

    def __iter__(self) -> Iterator[Ranked]:
        """Give the products one by one, those with the most worth a byte first."""
        heap: list[tuple[float, int, int]] = []
        for frame in range(len(self._sights)):
            self._push(heap, frame, 0)
        while heap:
            _, frame, which = heapq.heappop(heap)
            product = self._products[frame][which]
            gain = self._gain(frame, product)
            # Others may have made this one less worth than when it was last looked at.
            if heap and -gain / (product.size + self._overhead) > heap[0][0] + 1e-18:
                heapq.heappush(heap, (-gain / (product.size + self._overhead), frame, which))
                continue
            why = self._why(frame, product)
            np.maximum(self._best[product.kind], self.alike[frame], out=self._best[product.kind])
            self._shown[product.kind, self._sights[frame].kind] += 1
            yield Ranked(product, gain, why)
            if which == 0:
                for other in range(1, len(self._products[frame])):
                    self._push(heap, frame, other)

    def _push(self, heap: list[tuple[float, int, int]], frame: int, which: int) -> None:
        product = self._products[frame][which]
        rate = self._gain(frame, product) / (product.size + self._overhead)
        heapq.heappush(heap, (-rate, frame, which))

    def _gain(self, frame: int, product: Product) -> float:
        more = np.maximum(self.alike[frame] - self._best[product.kind], 0.0)
        alone = _ALONE * self._weights[frame] / len(self._sights)
        scene = 0.5 ** (1 + self._shown[product.kind, self._sights[frame].kind]) / self._scenes
        scene *= self._sights[frame].worth
        value = KINDS[product.kind] * (float(more @ self._ground_weights) + scene + alone)
        return float(value * (self._priority.get(product.label, 1.0) if product.label else 1.0))

    def _why(self, frame: int, product: Product) -> str:
        """Say what speaks for it most."""
        sight = self._sights[frame]
        if product.label:
            return product.label
        own = self.alike[frame]
        nearest = int(own.argmax())
        if self._best[product.kind][nearest] < 0.5:
            return "new"
        if sight.doubt >= 0.5:
            return "doubt"
        dear = max(sight.labels, key=lambda k: self._priority.get(k, 1.0), default="")
        return dear if self._priority.get(dear, 1.0) > 1 else "more of it"


def _similarity(points: NDArray[np.float32], ground: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return (frames, ground) similarities, 1 for the same and falling with the distance squared.

    The scale is a quarter of the median distance: frames that far apart have little in common.
    """
    centres = points[ground]
    squared = (
        (points**2).sum(axis=1)[:, None]
        + (centres**2).sum(axis=1)[None, :]
        - 2.0 * points @ centres.T
    )
    squared = np.maximum(squared, 0.0)
    scale = float(np.median(squared)) / 16.0
    return np.asarray(np.exp(-squared / max(scale, 1e-9)), np.float32)
