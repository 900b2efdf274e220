"""Scores with written definitions: classification, pixels, objects.

Definitions are repeated in every report, because published figures differ by them:

* accuracy: right answers over all images.
* macro-F1: mean over the classes *present in the split* of 2PR / (P + R), a class's P taken as 0
  where it was never predicted. Predictions of absent classes still cost the true class its recall.
* Dice and IoU: from pixel counts summed over the whole split ("micro"), after the threshold.
* object match: an ellipse counts as found when its intersection over union with a labelled one is
  at least 0.5, both clipped to the image, one to one, best score first. Labels under
  `MIN_DIAMETER_PX` or with less than half their area in the image are neither demanded nor
  punished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.ellipse import Ellipse, clipped_polygon, polygon_iou
from rille.statistics import BINS, calibration_error, reliability

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_DIAMETER_PX = 8.0
MATCH_IOU = 0.5
DIAMETERS_PX = (MIN_DIAMETER_PX, 13.0, 20.0, 40.0)
"""Where the diameter bins begin; the last one is open."""


@dataclass(frozen=True, slots=True)
class ClassReport:
    """Scores of a classifier on one split.

    Attributes:
        images: number of images.
        accuracy: share of right answers.
        macro_f1: mean F1 over the classes present.
        present: class index -> number of images, for the classes present.
        recall, precision, f1: class index -> score, for the classes present.
        confusion: (n, n) counts, row = truth, column = answer.
    """

    images: int
    accuracy: float
    macro_f1: float
    present: dict[int, int]
    recall: dict[int, float]
    precision: dict[int, float]
    f1: dict[int, float]
    confusion: NDArray[np.int64]


def classification_report(truth: Sequence[int], answer: Sequence[int], classes: int) -> ClassReport:
    """Compare answers with truth, both class indices in [0, classes).

    Raises:
        ValueError: no samples, or lengths that differ.
    """
    if not len(truth) or len(truth) != len(answer):
        raise ValueError(f"{len(truth)} labels and {len(answer)} answers cannot be compared")
    flat = np.asarray(truth) * classes + np.asarray(answer)
    confusion = np.bincount(flat, minlength=classes * classes).reshape(classes, classes)
    right, per_truth, per_answer = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    present = [int(c) for c in np.flatnonzero(per_truth)]
    recall = {c: float(right[c] / per_truth[c]) for c in present}
    precision = {c: float(right[c] / max(per_answer[c], 1)) for c in present}
    f1 = {c: float(2 * right[c] / (per_truth[c] + per_answer[c])) for c in present}
    return ClassReport(
        images=len(truth),
        accuracy=float(right.sum() / len(truth)),
        macro_f1=float(np.mean([f1[c] for c in present])),
        present={c: int(per_truth[c]) for c in present},
        recall=recall,
        precision=precision,
        f1=f1,
        confusion=confusion,
    )


def wilson_interval(right: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson score interval of a share (Wilson 1927); z = 1.96 for 95 %.

    It treats images as independent; images of one burst are not, so it is a lower bound on the
    real uncertainty.
    """
    if total == 0:
        return 0.0, 1.0
    share, z2 = right / total, z * z
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = z / (1 + z2 / total) * np.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


@dataclass(slots=True)
class PixelCounts:
    """Counts of pixels over a split, for Dice, IoU, precision and recall.

    Attributes:
        both, predicted, labelled: pixels in the whole split.
        images: the same three counts of each image.
    """

    both: int = 0
    predicted: int = 0
    labelled: int = 0
    images: list[tuple[int, int, int]] = field(default_factory=list)

    def add(self, predicted: NDArray[np.bool_], labelled: NDArray[np.bool_]) -> None:
        """Add one image: two boolean masks of equal shape."""
        counts = [int(np.count_nonzero(m)) for m in (predicted & labelled, predicted, labelled)]
        self.both += counts[0]
        self.predicted += counts[1]
        self.labelled += counts[2]
        self.images.append((counts[0], counts[1], counts[2]))

    def scores(self) -> dict[str, float]:
        """Return dice, iou, precision and recall; 1 where nothing was labelled nor predicted."""
        union = self.predicted + self.labelled - self.both
        if union == 0:
            return {"dice": 1.0, "iou": 1.0, "precision": 1.0, "recall": 1.0}
        return {
            "dice": 2 * self.both / (self.predicted + self.labelled),
            "iou": self.both / union,
            "precision": self.both / max(self.predicted, 1),
            "recall": self.both / max(self.labelled, 1),
        }


@dataclass(slots=True)
class ObjectCounts:
    """Matched and unmatched ellipses over a split; see the module's definition of a match.

    Attributes:
        labelled: ellipses demanded.
        scores, hits: score of each answer, and whether it found a label.
        diameters_px: diameter of the label that an answer found, of the answer itself otherwise.
        labelled_px: diameters of the ellipses demanded.
        images: (ellipses demanded, answers) of each image.
    """

    labelled: int = 0
    scores: list[float] = field(default_factory=list)
    hits: list[bool] = field(default_factory=list)
    diameters_px: list[float] = field(default_factory=list)
    labelled_px: list[float] = field(default_factory=list)
    images: list[tuple[int, int]] = field(default_factory=list)

    def add(
        self,
        predicted: Sequence[tuple[Ellipse, float]],
        labelled: Sequence[Ellipse],
        width: int,
        height: int,
    ) -> None:
        """Add one image.

        Args:
            predicted: ellipses with scores.
            labelled: true ellipses; parts may lie outside the image.
            width, height: size of the image in the same pixels.
        """
        truth = [clipped_polygon(e, width, height) for e in labelled]
        counts = [
            e.diameter >= MIN_DIAMETER_PX and _area(polygon) >= 0.5 * e.area
            for e, polygon in zip(labelled, truth, strict=True)
        ]
        self.labelled += sum(counts)
        self.labelled_px += [e.diameter for e, c in zip(labelled, counts, strict=True) if c]
        before, free = len(self.hits), [True] * len(truth)
        for ellipse, score in sorted(predicted, key=lambda p: -p[1]):
            found = _best(clipped_polygon(ellipse, width, height), ellipse, labelled, truth, free)
            if found is not None:
                free[found] = False
                if not counts[found]:
                    continue
            elif ellipse.diameter < MIN_DIAMETER_PX:
                continue
            self.scores.append(score)
            self.hits.append(found is not None)
            self.diameters_px.append((ellipse if found is None else labelled[found]).diameter)
        self.images.append((sum(counts), len(self.hits) - before))

    def at(self, threshold: float) -> dict[str, float]:
        """Return precision, recall and f1 of the objects scored at `threshold` or above."""
        kept = [hit for hit, s in zip(self.hits, self.scores, strict=True) if s >= threshold]
        return _shares(sum(kept), len(kept), self.labelled)

    def by_diameter(
        self, threshold: float, edges: Sequence[float] = DIAMETERS_PX
    ) -> list[dict[str, Any]]:
        """Return the same for each bin of diameters, with its limits and counts.

        As in COCO (Lin et al. 2014), an answer that found a label counts in that label's bin,
        another one in the bin of its own size: hits of a bin are at most its labels.

        Args:
            threshold: least score of an object.
            edges: where the bins begin, in network pixels; the last one is open.
        """
        kept = np.asarray(self.scores, np.float64) >= threshold
        place = np.digitize(np.asarray(self.diameters_px, np.float64), edges) - 1
        demanded = np.digitize(np.asarray(self.labelled_px, np.float64), edges) - 1
        table = []
        for k, (low, high) in enumerate(zip(edges, [*edges[1:], None], strict=True)):
            inside = kept & (place == k)
            hits = int(np.asarray(self.hits, bool)[inside].sum())
            answers, labelled = int(inside.sum()), int((demanded == k).sum())
            table.append(
                {
                    "from_px": low,
                    "to_px": high,
                    "labelled": labelled,
                    "answers": answers,
                    "hits": hits,
                    **_shares(hits, answers, labelled),
                }
            )
        return table

    def counts_by_image(self, threshold: float) -> NDArray[np.int64]:
        """Return (images, 3) hits, answers and labels at a score threshold."""
        kept = np.asarray(self.scores, np.float64) >= threshold
        sizes = [answers for _, answers in self.images]
        image = np.repeat(np.arange(len(sizes)), sizes)
        hits = np.bincount(image[kept & np.asarray(self.hits, bool)], minlength=len(sizes))
        answers = np.bincount(image[kept], minlength=len(sizes))
        return np.stack([hits, answers, [labels for labels, _ in self.images]], axis=1)

    def average_precision(self) -> float:
        """Return the area under the precision-recall curve, precision made monotone.

        It sees only objects above the network's own threshold: state that threshold beside it.
        """
        if not self.labelled or not self.hits:
            return 0.0
        order = np.argsort(-np.asarray(self.scores), kind="stable")
        hits = np.cumsum(np.asarray(self.hits)[order])
        precision = hits / np.arange(1, len(hits) + 1)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        steps = np.diff(hits, prepend=0)
        return float((envelope * steps).sum() / self.labelled)

    def best_threshold(self) -> tuple[float, dict[str, float]]:
        """Return the score threshold with the highest F1, and its scores."""
        if not self.scores:
            return 0.5, self.at(0.5)
        order = np.argsort(-np.asarray(self.scores), kind="stable")
        hits = np.cumsum(np.asarray(self.hits)[order])
        f1 = 2 * hits / (np.arange(1, len(hits) + 1) + self.labelled)
        threshold = float(np.asarray(self.scores)[order][int(np.argmax(f1))])
        return threshold, self.at(threshold)


def _shares(hits: int, answers: int, labelled: int) -> dict[str, float]:
    """Return precision, recall and f1 from counts; f1 is 1 where there was nothing to find."""
    total = answers + labelled
    return {
        "precision": hits / answers if answers else 0.0,
        "recall": hits / labelled if labelled else 0.0,
        "f1": 2 * hits / total if total else 1.0,
    }


def _area(polygon: NDArray[np.float32]) -> float:
    if len(polygon) < 3:
        return 0.0
    x, y = polygon[:, 0], polygon[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _best(
    polygon: NDArray[np.float32],
    ellipse: Ellipse,
    labelled: Sequence[Ellipse],
    truth: Sequence[NDArray[np.float32]],
    free: Sequence[bool],
) -> int | None:
    """Return the index of the free label that overlaps most, at least `MATCH_IOU`."""
    best, found = MATCH_IOU, None
    for index, label in enumerate(labelled):
        reach = ellipse.semi_major + label.semi_major
        if not free[index] or abs(ellipse.x - label.x) > reach or abs(ellipse.y - label.y) > reach:
            continue
        iou = polygon_iou(polygon, truth[index])
        if iou >= best:
            best, found = iou, index
    return found


def average_precision(score: NDArray[np.float32], holds: NDArray[np.bool_]) -> float:
    """Return the mean precision at each case that holds, best score first; 0 where none does.

    Cases of one score are taken together.

    Args:
        score: (n,) higher is surer.
        holds: (n,).
    """
    order = np.argsort(-score, kind="stable")
    ranked, hits = score[order], np.cumsum(holds[order])
    if not len(hits) or not hits[-1]:
        return 0.0
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    precision = hits[last] / (last + 1)
    return float((precision * np.diff(hits[last], prepend=0)).sum() / hits[-1])


def area_under_roc(inside: Sequence[float], outside: Sequence[float]) -> float:
    """Return how often a number from outside is the larger of two, ties by half (Mann-Whitney).

    Args:
        inside, outside: scores of two kinds, at least one of each.
    """
    below = np.sort(np.asarray(inside, np.float64))
    fewer = np.searchsorted(below, outside, "left") + np.searchsorted(below, outside, "right")
    return float(fewer.mean() / (2 * len(below)))


def expected_calibration_error(
    probability: NDArray[np.float32], right: NDArray[np.bool_], bins: int = BINS
) -> float:
    """Return the expected calibration error (Naeini 2015): equal-width bins of the top probability.

    Args:
        probability: (n,) probability of the answer given.
        right: (n,) whether that answer was right.
        bins: number of bins over [0, 1].
    """
    return calibration_error(reliability(probability, right, bins))


def as_json(report: ClassReport, names: Sequence[str]) -> dict[str, Any]:
    """Return a classification report with class names, for a results file."""
    return {
        "images": report.images,
        "accuracy": report.accuracy,
        "accuracy_interval_95": wilson_interval(
            round(report.accuracy * report.images), report.images
        ),
        "macro_f1": report.macro_f1,
        "classes_present": len(report.present),
        "per_class": {
            names[c]: {
                "images": report.present[c],
                "recall": report.recall[c],
                "precision": report.precision[c],
                "f1": report.f1[c],
            }
            for c in report.present
        },
        "confusion": report.confusion.tolist(),
    }
