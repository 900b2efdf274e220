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

import cv2
import numpy as np

from rille import kernels
from rille.bundle.manifest import Decision, LabelEntry, Variant
from rille.ellipse import Ellipse
from rille.errors import InferenceError
from rille.kernels import RegionFinder
from rille.postprocess.blend import BLEND_FLOOR, Blend, Grid
from rille.postprocess.regions import ellipses
from rille.result import Feature, Segmentation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.preprocess import Geometry
    from rille.tensor import TensorSpec

Found = tuple[str, Ellipse, float]
"""Label, ellipse in network pixels, score."""
SIZE_UNIT_PX = 16.0
"""The size outputs are log2 of the width and height over this many network pixels."""
_KERNEL = np.ones((3, 3), np.uint8)
_MOST_LOGIT = 300.0
"""Beyond it exp() of a sum of logits might overflow; no probability can be told from 0 or 1."""


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
        self._mask_grid = Grid.between(variant.input, self._specs[self._role])
        if self._role == "mask":
            self._mask_above = _stored_threshold(self._specs["mask"], decision.mask_threshold)
        wanted = decision.feature_labels or self._labels
        values = [value for value, label in enumerate(self._labels, 1) if label in wanted]
        _, height, width, _ = self._specs[self._role].shape
        self._finder = RegionFinder((height, width), values)
        self._table = _table(self._specs[self._role], self._role)
        self._blend = None
        if "centre" in self._specs:
            self._centre_grid = Grid.between(variant.input, self._specs["centre"])
            least = decision.feature_threshold
            if decision.mask_from_features:
                self._blend = Blend(self._specs["mask"], decision, self._mask_grid)
                least = min(least, BLEND_FLOOR)
            self._centre_above = _stored_threshold(self._specs["centre"], least)

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
        found: list[Found] = []
        if "centre" in outputs:
            found = self._from_centres(outputs["centre"][0, :, :, 0], outputs["size"][0])
        if self._role == "classes":
            mask = kernels.largest(raw)
        elif self._blend is not None:
            mask = self._blend(raw[:, :, 0], found)
            found = [item for item in found if item[2] >= self._decision.feature_threshold]
        else:
            mask = (raw[:, :, 0] > self._mask_above).view(np.uint8)
        self._clear_margins(mask, geometry)
        if "centre" not in outputs:
            found = self._from_regions(mask, raw)
        inside = geometry.width * geometry.height / self._mask_grid.cell
        counts = kernels.counts(mask)[1 : 1 + len(self._labels)].tolist()
        shares = [min(1.0, n / inside) for n in counts]
        return Segmentation(
            mask=mask,
            geometry=geometry,
            features=self._features(found, geometry),
            coverage=min(1.0, sum(shares)),
            shares=dict(zip(self._labels, shares, strict=True)),
            cell_px=(self._mask_grid.x, self._mask_grid.y),
        )

    def _clear_margins(self, mask: NDArray[np.uint8], geometry: Geometry) -> None:
        """Zero the mask where the letterbox shows nothing."""
        grid = self._mask_grid
        mask[: math.ceil(geometry.top / grid.y)] = 0
        mask[math.ceil((geometry.top + geometry.height) / grid.y) :] = 0
        mask[:, : math.ceil(geometry.left / grid.x)] = 0
        mask[:, math.ceil((geometry.left + geometry.width) / grid.x) :] = 0

    def _features(self, found: list[Found], geometry: Geometry) -> tuple[Feature, ...]:
        """Keep the best, map them to source pixels, and drop those centred off the image."""
        sx, sy = 1 / geometry.scale_x, 1 / geometry.scale_y
        dx, dy = geometry.to_source(0.0, 0.0)
        features = []
        for label, ellipse, score in sorted(found, key=lambda item: -item[2]):
            if ellipse.diameter < self._decision.min_diameter_px:
                continue
            mapped = ellipse.mapped(sx, sy, dx, dy)
            if (
                -0.5 <= mapped.x < geometry.source_width - 0.5
                and -0.5 <= mapped.y < geometry.source_height - 0.5
            ):
                features.append(Feature(label, mapped, score))
            if len(features) == self._decision.max_features:
                break
        return tuple(features)

    def _from_centres(self, centre: NDArray[Any], size: NDArray[Any]) -> list[Found]:
        """Read features off the local maxima of the centre map, in network pixels."""
        ordered = _ordered(centre)
        peak = (ordered == cv2.dilate(ordered, _KERNEL)) & (centre > self._centre_above)
        rows, columns = np.nonzero(peak)
        if not len(rows):
            return []
        spec = self._specs["centre"]
        logits = spec.dequantize(centre[rows, columns])
        best = np.argsort(-logits, kind="stable")[: 2 * self._decision.max_features]
        rows, columns, logits = rows[best], columns[best], logits[best]
        x = columns + _vertex_offset(centre, rows, columns, 0, 1)
        y = rows + _vertex_offset(centre, rows, columns, 1, 0)
        x, y = self._centre_grid.to_network(x, y)
        log_sizes = np.clip(self._specs["size"].dequantize(size[rows, columns]), -6.0, 8.0)
        sizes = SIZE_UNIT_PX * np.exp2(log_sizes)
        scores = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
        keep = _distinct(x, y, sizes)
        boxes = [Ellipse.from_box(float(x[k]), float(y[k]), *map(float, sizes[k])) for k in keep]
        return [
            (self._labels[0], box, float(scores[k])) for k, box in zip(keep, boxes, strict=True)
        ]

    def _from_regions(self, mask: NDArray[np.uint8], raw: NDArray[Any]) -> list[Found]:
        """Fit an ellipse to each connected region of each label, in network pixels."""
        sums = self._finder(mask, self._shares(raw, mask))
        scores = sums.share / sums.moments[:, 0]
        sure = scores >= self._decision.feature_threshold
        return [
            (self._labels[sums.value[k] - 1], ellipse, float(scores[k]))
            for k, ellipse in ellipses(sums, self._mask_grid, sure, self._decision.min_diameter_px)
        ]

    def _shares(self, raw: NDArray[Any], mask: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the probability of what the mask says, for each cell that may be in a region."""
        if self._table is not None:
            return self._finder.shares(raw, mask, self._table)
        at, spec = self._finder.cells(mask), self._specs[self._role]
        logits = spec.dequantize(raw.reshape(-1, raw.shape[2]).take(at, axis=0)).astype(np.float64)
        powers = np.exp(np.clip(logits, -_MOST_LOGIT, _MOST_LOGIT))
        if self._role == "mask":
            found = powers[:, 0] / (1.0 + powers[:, 0])
        else:
            # A product with ones is the fast way to sum a few columns.
            said = powers[np.arange(len(at)), mask.ravel().take(at)]
            found = said / (powers @ np.ones(powers.shape[1]))
        shares = np.zeros(mask.shape)
        shares.put(at, found)
        return shares


def _table(spec: TensorSpec, role: str) -> NDArray[np.float64] | None:
    """Return, by each byte that can be stored, the probability or (of classes) the power it means.

    None where a number takes more than a byte.
    """
    kind = spec.numpy_dtype
    if kind.itemsize != 1:
        return None
    logits = spec.dequantize(np.arange(256, dtype=np.uint8).view(kind)).astype(np.float64)
    powers = np.exp(np.clip(logits, -_MOST_LOGIT, _MOST_LOGIT))
    return np.asarray(powers / (1.0 + powers) if role == "mask" else powers)


def _stored_threshold(spec: TensorSpec, probability: float) -> float:
    """Return the stored logit above which sigmoid(logit) exceeds a probability."""
    if probability <= 0:
        return -math.inf
    if probability >= 1:
        return math.inf
    return math.log(probability / (1 - probability)) / spec.scale + spec.zero_point


def _ordered(values: NDArray[Any]) -> NDArray[Any]:
    """Return the numbers in a type OpenCV can dilate, in the same order (int8 has none)."""
    if values.dtype == np.int8:
        return values.view(np.uint8) ^ np.uint8(0x80)
    return np.ascontiguousarray(values)


def _vertex_offset(
    values: NDArray[Any], rows: NDArray[np.intp], columns: NDArray[np.intp], dy: int, dx: int
) -> NDArray[np.float64]:
    """Return where between its neighbours each peak lies: the vertex of a parabola, +-0.5."""
    height, width = values.shape
    at = values[rows, columns].astype(np.float64)
    before = values[np.maximum(rows - dy, 0), np.maximum(columns - dx, 0)].astype(np.float64)
    after = values[np.minimum(rows + dy, height - 1), np.minimum(columns + dx, width - 1)]
    bend = before - 2 * at + after
    bent = bend < 0
    offset = 0.5 * (before - after) / np.where(bent, bend, 1.0)
    return np.where(bent, np.clip(offset, -0.5, 0.5), 0.0)


def _distinct(
    x: NDArray[np.float64], y: NDArray[np.float64], sizes: NDArray[np.float64]
) -> list[int]:
    """Return the indices of peaks that are not a repeat of a better one before them.

    A repeat is closer than a third of the smaller diameter and within a factor of 1.5 in size:
    nested craters differ more in size, neighbours more in place.
    """
    diameter = np.sqrt(sizes[:, 0] * sizes[:, 1])
    distance2 = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2
    near = distance2 < (0.35 * np.minimum(diameter[:, None], diameter)) ** 2
    log_size = np.log2(diameter)
    alike = np.abs(log_size[:, None] - log_size) < 0.6
    repeats = near & alike
    gone = np.zeros(len(x), bool)
    keep = []
    for index in range(len(x)):
        if not gone[index]:
            keep.append(index)
            gone |= repeats[index]
    return keep
