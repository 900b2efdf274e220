"""Scoring networks for rover scenes: independent labels, and class masks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from rille.datasets import IGNORED, Dataset, MultiLabelSample
from rille.errors import DatasetError
from rille.metrics import PixelCounts, average_precision, expected_calibration_error
from rille.postprocess.classification import sigmoid
from rille.result import Classification, Segmentation
from rille.statistics import bootstrap_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rille.bundle.manifest import Contract, Decision, LabelEntry
    from rille.datasets import Sample
    from rille.network import Network

STONE_SIZES_PX = (0.0, 10.0, 20.0, np.inf)
"""Edges of the bins by which labelled things are counted: diameter of the circle of their area."""
INTERVALS = (
    "whole groups (sessions, scenes) drawn with replacement, 2,000 draws, percentile interval; too "
    "narrow where there are fewer than about 20 groups"
)
_UNCLEAR = -1
_FOUND_SHARE = 0.5


@dataclass(slots=True)
class LabelScores:
    """Collects answers of a multilabel network.

    Attributes:
        network: what is scored.
        order: place of the data set's label for each label of the network.
        logits: one (labels,) float32 a sample.
        truth: one (labels,) int8 a sample: 1 holds, 0 does not, -1 is no clear case.
        groups: of each sample.
        ood_scores: of each sample, where the network has them.
    """

    network: Network
    order: list[int]
    logits: list[NDArray[np.float32]] = field(default_factory=list)
    truth: list[NDArray[np.int8]] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    ood_scores: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, network: Network, dataset: Dataset) -> LabelScores:
        """Start a collection.

        Raises:
            DatasetError: the data set lacks a label of the network.
        """
        places = {label.name: i for i, label in enumerate(dataset.labels)}
        missing = [name for name in network.contract.label_names if name not in places]
        if missing:
            raise DatasetError(
                f"{dataset.root}: says nothing about {', '.join(map(repr, missing))}, "
                f"which {network.contract.name} answers"
            )
        return cls(network, [places[name] for name in network.contract.label_names])

    def add(self, sample: Sample, image: NDArray[np.uint8]) -> None:
        """Answer one image and note its truth."""
        assert isinstance(sample, MultiLabelSample)
        tensor, geometry = self.network.preprocessor(image)
        outputs = self.network.backend.infer(tensor)
        answer = self.network.decode(outputs, geometry)
        if isinstance(answer, Classification) and answer.ood_score is not None:
            self.ood_scores.append(answer.ood_score)
        spec = self.network.variant.outputs["logits"].tensor
        self.logits.append(spec.dequantize(outputs["logits"])[0])
        holds = [sample.holds[k] for k in self.order]
        self.truth.append(np.array([_UNCLEAR if v is None else int(v) for v in holds], np.int8))
        self.groups.append(sample.group)

    def finish(self) -> tuple[dict[str, float], dict[str, Any]]:
        """Return the headline scores and everything."""
        contract = self.network.contract
        logits, truth = np.stack(self.logits), np.stack(self.truth)
        scores, detail = label_report(logits, truth, contract.labels, contract.decision)
        said = sigmoid(logits, contract.decision.temperature) >= _thresholds(contract)
        detail["intervals_95"] = {"macro_f1": _macro_interval(said, truth, self.groups)}
        detail["definitions"]["intervals_95"] = INTERVALS
        return scores, detail


def _thresholds(contract: Contract) -> NDArray[np.float32]:
    given = contract.decision.label_thresholds
    return np.array(given or (0.5,) * len(contract.labels), np.float32)


def _macro_interval(
    said: NDArray[np.bool_], truth: NDArray[np.int8], groups: Sequence[str]
) -> tuple[float, float]:
    """Return the interval of macro-F1, whole groups drawn; see `label_report`."""
    holds, clear = truth == 1, truth != _UNCLEAR
    scored = holds.any(axis=0) & (clear & ~holds).any(axis=0)
    both, either = said & holds & clear, (said & clear).astype(int) + (holds & clear)
    terms = np.concatenate([2 * both[:, scored], either[:, scored]], axis=1)
    return bootstrap_interval(terms, groups, _mean_ratio)


def _mean_ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over k of the ratio of sum k to sum k + n, from (r, 2 n) sums."""
    top, bottom = np.split(sums, 2, axis=1)
    return np.asarray((top / np.maximum(bottom, 1e-9)).mean(axis=1))


def label_report(
    logits: NDArray[np.float32],
    truth: NDArray[np.int8],
    labels: tuple[LabelEntry, ...],
    decision: Decision,
) -> tuple[dict[str, float], dict[str, Any]]:
    """Score independent labels.

    Args:
        logits: (n, labels).
        truth: (n, labels): 1 holds, 0 does not, -1 is no clear case and is left out.
        labels: their names.
        decision: temperature and thresholds.

    Returns:
        macro_f1 and macro_ap, means over the labels that hold in some images and not in others;
        and the scores of each label.
    """
    probability = sigmoid(logits, decision.temperature)
    thresholds = decision.label_thresholds or (0.5,) * len(labels)
    rows: dict[str, Any] = {}
    for k, label in enumerate(labels):
        clear = truth[:, k] != _UNCLEAR
        holds, p = truth[clear, k] == 1, probability[clear, k]
        counts = PixelCounts()
        counts.add(p >= thresholds[k], holds)
        pixels = counts.scores()
        rows[label.name] = {
            "images": int(clear.sum()),
            "holding": int(holds.sum()),
            "precision": pixels["precision"],
            "recall": pixels["recall"],
            "f1": pixels["dice"],
            "average_precision": average_precision(p, holds),
            "threshold": float(thresholds[k]),
        }
    scored = [row for row in rows.values() if 0 < row["holding"] < row["images"]]
    clear = truth != _UNCLEAR
    p, holds = probability[clear], truth[clear] == 1
    scores = {
        "macro_f1": float(np.mean([row["f1"] for row in scored])) if scored else 0.0,
        "macro_ap": float(np.mean([row["average_precision"] for row in scored])) if scored else 0.0,
    }
    sure = np.where(p >= 0.5, p, 1 - p)
    detail = {
        **scores,
        "per_label": rows,
        "expected_calibration_error": expected_calibration_error(sure, (p >= 0.5) == holds),
        "definitions": {
            "macro_f1": "mean F1 at each label's threshold, over labels that hold in some images "
            "and not in others; unclear cases are left out",
            "macro_ap": "mean average precision over the same labels",
            "expected_calibration_error": "15 equal-width bins of the probability of the likelier "
            "side, all decisions of all labels taken together",
        },
    }
    return scores, detail


def fitted_thresholds(logits: NDArray[np.float32], truth: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return the logit of the highest F1 for each label, in the middle between two images.

    Args:
        logits: (n, labels).
        truth: (n, labels): 1 holds, 0 does not, -1 is left out. A label that never holds gets 0.
    """
    found = np.zeros(logits.shape[1], np.float32)
    for k in range(logits.shape[1]):
        clear = truth[:, k] != _UNCLEAR
        values, holds = logits[clear, k], truth[clear, k] == 1
        if not holds.any():
            continue
        order = np.argsort(-values, kind="stable")
        ranked, hits = values[order], np.cumsum(holds[order])
        f1 = 2 * hits / (np.arange(1, len(hits) + 1) + hits[-1])
        # Only between two images of different logits can a threshold lie.
        f1[:-1][ranked[:-1] == ranked[1:]] = 0.0
        best = int(np.argmax(f1))
        below = ranked[best + 1] if best + 1 < len(ranked) else ranked[best] - 1
        found[k] = (ranked[best] + below) / 2
    return found


@dataclass(slots=True)
class MaskScores:
    """Collects pixels of a network with class masks, compared in image pixels.

    Attributes:
        network: what is scored.
        labels: names of the labels that both network and data set have, with the mask value of
            each in the network and those in the data set: "stone+crater" is both of them.
        pixels: counts for each label.
        per_image: Dice of each label in each image that shows it or is said to.
        found, labelled: connected labelled regions by label and size bin, found and in all.
        groups: of each sample.
    """

    network: Network
    labels: dict[str, tuple[int, list[int]]]
    pixels: dict[str, PixelCounts]
    per_image: dict[str, list[float]]
    found: dict[str, NDArray[np.int64]]
    labelled: dict[str, NDArray[np.int64]]
    groups: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, network: Network, dataset: Dataset) -> MaskScores:
        """Start a collection.

        Raises:
            DatasetError: network and data set have no label in common.
        """
        theirs = {label.name: k for k, label in enumerate(dataset.labels, 1)}
        ours = {name: k for k, name in enumerate(network.contract.label_names, 1)}
        common = {
            name: (k, [theirs[part] for part in name.split("+")])
            for name, k in ours.items()
            if all(part in theirs for part in name.split("+"))
        }
        if not common:
            raise DatasetError(
                f"{dataset.root}: labels {', '.join(theirs)}, but {network.contract.name} finds "
                f"{', '.join(ours)}"
            )
        bins = len(STONE_SIZES_PX) - 1
        return cls(
            network,
            common,
            {name: PixelCounts() for name in common},
            {name: [] for name in common},
            {name: np.zeros(bins, np.int64) for name in common},
            {name: np.zeros(bins, np.int64) for name in common},
        )

    def add(self, sample: Sample, image: NDArray[np.uint8]) -> None:
        """Answer one image and compare it with its mask."""
        truth = sample.mask()  # type: ignore[union-attr]
        if truth.shape != image.shape[:2]:
            raise DatasetError(
                f"{sample.path}: image of {image.shape[1]} x {image.shape[0]} px, "
                f"mask of {truth.shape[1]} x {truth.shape[0]}"
            )
        answer, _ = self.network.run(image)
        assert isinstance(answer, Segmentation)
        predicted = answer.in_image()
        counted = truth != IGNORED
        self.groups.append(sample.group)
        for name, (ours, theirs) in self.labels.items():
            said, true = (predicted == ours) & counted, np.isin(truth, theirs)
            self.pixels[name].add(said, true)
            if said.any() or true.any():
                self.per_image[name].append(
                    2 * np.count_nonzero(said & true) / (said.sum() + true.sum())
                )
            self._count_regions(name, said, true)

    def _count_regions(self, name: str, said: NDArray[np.bool_], true: NDArray[np.bool_]) -> None:
        count, regions = cv2.connectedComponents(true.view(np.uint8), connectivity=8)
        if count < 2:
            return
        area = np.bincount(regions.ravel(), minlength=count)[1:]
        hit = np.bincount(regions[said], minlength=count)[1:]
        size = np.digitize(2 * np.sqrt(area / np.pi), STONE_SIZES_PX[1:-1])
        bins = len(STONE_SIZES_PX) - 1
        self.labelled[name] += np.bincount(size, minlength=bins)
        self.found[name] += np.bincount(size[hit >= _FOUND_SHARE * area], minlength=bins)

    def finish(self) -> tuple[dict[str, float], dict[str, Any]]:
        """Return the headline scores and everything."""
        rows: dict[str, Any] = {}
        for name, counts in self.pixels.items():
            rows[name] = {
                **counts.scores(),
                "per_image_dice": float(np.mean(self.per_image[name] or [0.0])),
                "images": len(self.per_image[name]),
                "regions_by_size": [
                    {"from_px": low, "found": int(found), "labelled": int(labelled)}
                    for low, found, labelled in zip(
                        STONE_SIZES_PX, self.found[name], self.labelled[name], strict=False
                    )
                ],
            }
        shown = [name for name, counts in self.pixels.items() if counts.labelled]
        scores = {f"dice_{name}": rows[name]["dice"] for name in shown}
        scores["macro_dice"] = float(np.mean(list(scores.values()) or [0.0]))
        images = [np.asarray(self.pixels[name].images, np.float64) for name in shown]
        terms = np.stack([2 * i[:, 0] for i in images] + [i[:, 1] + i[:, 2] for i in images], 1)
        detail = {
            "macro_dice": scores["macro_dice"],
            "intervals_95": {"macro_dice": bootstrap_interval(terms, self.groups, _mean_ratio)},
            "per_class": rows,
            "definitions": {
                "dice": "pixel counts summed over the split (micro), in image pixels; ignored "
                "regions left out, label edges not",
                "macro_dice": f"mean over {', '.join(shown)}",
                "intervals_95": INTERVALS,
                "per_image_dice": "mean over the images that show the class or are said to",
                "regions_by_size": "connected labelled regions by diameter of the circle of their "
                f"area; found: at least {_FOUND_SHARE:g} of the pixels carry the class",
            },
        }
        return scores, detail
