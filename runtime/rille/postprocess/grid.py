"""Output grids, and what is found on them, in network pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rille.ellipse import ellipse_from_moments
from rille.result import Feature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rille.bundle.manifest import Decision
    from rille.preprocess import Geometry
    from rille.tensor import TensorSpec


@dataclass(frozen=True, slots=True)
class Grid:
    """An output grid: how many network pixels one of its cells is wide and high."""

    x: float
    y: float

    @classmethod
    def between(cls, taken: TensorSpec, given: TensorSpec) -> Grid:
        """Return the grid of an output of shape (1, h, w, c) for an input (1, H, W, C)."""
        return cls(taken.shape[2] / given.shape[2], taken.shape[1] / given.shape[1])

    @property
    def cell(self) -> float:
        """Network pixels in one cell."""
        return self.x * self.y

    def to_network(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Map points of the grid to network pixels (centre of pixel 0 at 0.0)."""
        return (x + 0.5) * self.x - 0.5, (y + 0.5) * self.y - 0.5

    def to_cells(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Map network pixels to points of the grid; the inverse of `to_network`."""
        return (x + 0.5) / self.x - 0.5, (y + 0.5) / self.y - 0.5


class Found(NamedTuple):
    """What was found in a frame: n ellipses in network pixels, float64 each.

    Attributes:
        value: (n,) of each the mask's value, 1 being the first label.
        x, y: centre.
        xx, yy, xy: variances and covariance of the points inside, square pixels.
        score: confidence, 0 to 1.
    """

    value: NDArray[np.int32]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    xx: NDArray[np.float64]
    yy: NDArray[np.float64]
    xy: NDArray[np.float64]
    score: NDArray[np.float64]

    @property
    def diameter(self) -> NDArray[np.float64]:
        """Diameters of the circles of the same areas, network pixels."""
        # Each half axis is twice the root of an eigenvalue.
        return np.asarray(4.0 * np.sqrt(np.sqrt(np.maximum(self.xx * self.yy - self.xy**2, 0.0))))

    def features(
        self, geometry: Geometry, labels: Sequence[str], decision: Decision
    ) -> tuple[Feature, ...]:
        """Return the best in source pixels, the best first.

        Args:
            geometry: where the network's pixels lie in the source image; what is centred beside
                that is left out.
            labels: names of the values from 1 on.
            decision: the least score and diameter in network pixels, and how many there may be.
        """
        sx, sy = 1 / geometry.scale_x, 1 / geometry.scale_y
        dx, dy = geometry.to_source(0.0, 0.0)
        x, y = self.x * sx + dx, self.y * sy + dy
        fits = self.score >= decision.feature_threshold
        # A hair's breadth for the rounding.
        fits &= self.diameter >= decision.min_diameter_px * (1 - 1e-9)
        fits &= (x >= -0.5) & (x < geometry.source_width - 0.5)
        fits &= (y >= -0.5) & (y < geometry.source_height - 0.5)
        order = np.argsort(-self.score, kind="stable")
        best = order[fits[order]][: decision.max_features]
        # The quadratic form of a stretched ellipse, of which its axes are read off once.
        columns = (x, y, self.xx * (sx * sx), self.yy * (sy * sy), self.xy * (sx * sy))
        rows = np.stack(columns, axis=1)[best].tolist()
        values, scores = self.value[best].tolist(), self.score[best].tolist()
        return tuple(
            Feature(labels[value - 1], ellipse_from_moments(*row), score)
            for value, row, score in zip(values, rows, scores, strict=True)
        )
