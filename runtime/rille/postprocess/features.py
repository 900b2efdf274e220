"""Segmenter outputs to a mask and features (ellipses in source-image pixels).

Three kinds of network are understood:

* "mask" alone: connected regions of the mask become features, each with the ellipse of the same
  second moments.
* "mask" with "centre" and "size": each local maximum of the centre map becomes a feature, with the
  width and height found there. Touching and nested craters stay apart, and small ones are not
  lost to the mask's resolution.
* "classes": each pixel belongs to the class of the largest logit, the first being the rest;
  connected regions of a class become features.

Thresholds are compared with the stored numbers, so a map is never dequantised as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rille import kernels
from rille.bundle.manifest import Decision, LabelEntry, Variant
from rille.ellipse import ellipse_from_moments
from rille.errors import InferenceError
from rille.kernels import RegionFinder
from rille.postprocess.blend import BLEND_FLOOR, Blend
from rille.postprocess.centres import CentreReader
from rille.postprocess.logits import Reading, powers, probability, stored_above
from rille.result import Feature, Segmentation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.preprocess import Geometry
    from rille.tensor import TensorSpec


class FeatureDecoder:
    """Turns a segmenter's stored outputs into a `Segmentation`.

    Args:
        variant: the network's inputs and outputs.
        decision: thresholds.
        labels: the classes; where there is one mask, it is that of the first.
    """

    def __init__(self, variant: Variant, decision: Decision, labels: tuple[LabelEntry, ...]):
        self._specs = {role: entry.tensor for role, entry in variant.outputs.items()}
        self._decision = decision
        self._labels = [label.name for label in labels]
        self._role = "classes" if "classes" in self._specs else "mask"
        self._cell = _cell(variant.input, self._specs[self._role])
        if self._role == "mask":
            self._mask_above = stored_above(self._specs["mask"], decision.mask_threshold)
        wanted = decision.feature_labels or self._labels
        values = [value for value, label in enumerate(self._labels, 1) if label in wanted]
        _, height, width, _ = self._specs[self._role].shape
        self._finder = RegionFinder((height, width), values)
        self._meaning = Reading(
            self._specs[self._role], probability if self._role == "mask" else powers
        )
        self._centres, self._blend = None, None
        if "centre" in self._specs:
            least = decision.feature_threshold
            if decision.mask_from_features:
                self._blend = Blend(self._specs["mask"], decision, self._cell)
                least = min(least, BLEND_FLOOR)
            centre = self._specs["centre"]
            self._centres = CentreReader(
                centre,
                self._specs["size"],
                _cell(variant.input, centre),
                stored_above(centre, least),
                decision.max_features,
            )

    def __call__(self, outputs: Mapping[str, NDArray[Any]], geometry: Geometry) -> Segmentation:
        """Decode one frame.

        Args:
            outputs: role -> stored numbers, as a backend returns them.
            geometry: where the network's pixels lie in the source image.

        Raises:
            InferenceError: an output holds a number that is not finite.
        """
        for role, values in outputs.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise InferenceError(f"the network gave a {role} that is not a finite number")
        raw = outputs[self._role][0]
        boxes = None
        if self._centres is not None:
            boxes = self._centres(outputs["centre"][0, :, :, 0], outputs["size"][0])
        if self._role == "classes":
            mask = kernels.largest(raw)
        elif self._blend is not None and boxes is not None:
            mask = self._blend(raw[:, :, 0], boxes)
        else:
            mask = (raw[:, :, 0] > self._mask_above).view(np.uint8)
        self._clear_margins(mask, geometry)
        found = self._from_regions(mask, raw) if boxes is None else boxes.found()
        inside = geometry.width * geometry.height / math.prod(self._cell)
        counts = kernels.counts(mask)[1 : 1 + len(self._labels)].tolist()
        shares = [min(1.0, n / inside) for n in counts]
        return Segmentation(
            mask=mask,
            geometry=geometry,
            features=self._features(found, geometry),
            coverage=min(1.0, sum(shares)),
            shares=dict(zip(self._labels, shares, strict=True)),
            cell_px=self._cell,
        )

    def _clear_margins(self, mask: NDArray[np.uint8], geometry: Geometry) -> None:
        """Zero the mask where the letterbox shows nothing."""
        x, y = self._cell
        mask[: math.ceil(geometry.top / y)] = 0
        mask[math.ceil((geometry.top + geometry.height) / y) :] = 0
        mask[:, : math.ceil(geometry.left / x)] = 0
        mask[:, math.ceil((geometry.left + geometry.width) / x) :] = 0

    def _from_regions(self, mask: NDArray[np.uint8], raw: NDArray[Any]) -> NDArray[np.float64]:
        """Fit an ellipse to each connected region of each label."""
        return kernels.spread(self._finder(mask, self._shares(raw, mask)), self._cell)

    def _features(self, found: NDArray[np.float64], geometry: Geometry) -> tuple[Feature, ...]:
        """Return what is published of (n, 7) ellipses in network pixels, the best first."""
        decision = self._decision
        rows = kernels.chosen(
            found,
            score=decision.feature_threshold,
            # A hair's breadth for the rounding.
            diameter=decision.min_diameter_px * (1 - 1e-9),
            scale=(1 / geometry.scale_x, 1 / geometry.scale_y),
            shift=geometry.to_source(0.0, 0.0),
            size=(geometry.source_width, geometry.source_height),
        )
        return tuple(
            Feature(self._labels[int(value) - 1], ellipse_from_moments(*moments), score)
            for value, *moments, score in rows[: decision.max_features].tolist()
        )

    def _shares(self, raw: NDArray[Any], mask: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the probability of what the mask says, for each cell that may be in a region."""
        if self._meaning.table is not None:
            return self._finder.shares(raw, mask, self._meaning.table)
        at = self._finder.cells(mask)
        meant = self._meaning(raw.reshape(-1, raw.shape[2]).take(at, axis=0))
        if self._role == "mask":
            found = meant[:, 0]
        else:
            # A product with ones is the fast way to sum a few columns.
            said = meant[np.arange(len(at)), mask.ravel().take(at)]
            found = said / (meant @ np.ones(meant.shape[1]))
        shares = np.zeros(mask.shape)
        shares.put(at, found)
        return shares


def _cell(taken: TensorSpec, given: TensorSpec) -> tuple[float, float]:
    """Return how many pixels of an input (1, H, W, C) an output's cell is wide and high."""
    return taken.shape[2] / given.shape[2], taken.shape[1] / given.shape[1]
