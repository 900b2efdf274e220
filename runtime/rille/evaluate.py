"""Scoring a network on a labelled split, through the very path that flies.

`rille eval`, validation during training and the parity check of an export all call `evaluate`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np

from rille.datasets import BoxSample, Dataset, ImageSample, Sample, samples_of
from rille.detail import (
    CLASS_DEFINITIONS,
    MASK_DEFINITIONS,
    calibration,
    class_intervals,
    mask_statistics,
)
from rille.ellipse import draw_ellipses
from rille.errors import DatasetError, FrameDecodeError
from rille.images import read_image
from rille.metrics import (
    MATCH_IOU,
    MIN_DIAMETER_PX,
    ObjectCounts,
    PixelCounts,
    as_json,
    classification_report,
    expected_calibration_error,
)
from rille.network import Network
from rille.result import Classification, Segmentation
from rille.scene_scores import LabelScores, MaskScores

AP_FLOOR = 0.05
"""Features down to this score enter the average precision."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of one network on one split.

    Attributes:
        task: "classification", "multilabel" or "segmentation".
        scores: the headline figures by name.
        detail: everything, ready for a results file.
        logits: classification, multilabel: (n, classes) float32 in the order of the samples.
        truth: classification: (n,) class index of each sample, -1 for a class the network lacks;
            multilabel: (n, labels) 1, 0, or -1 where it is no clear case.
        objects: segmentation by ellipses: every feature found down to `AP_FLOOR`, matched.
        ood_scores: of each image, where the network has them; see `rille.familiarity`.
    """

    task: str
    scores: dict[str, float]
    detail: dict[str, Any]
    logits: Any = field(default=None, repr=False)
    truth: Any = field(default=None, repr=False)
    objects: ObjectCounts | None = field(default=None, repr=False)
    ood_scores: tuple[float, ...] = field(default=(), repr=False)


def evaluate(
    network: Network,
    dataset: Dataset,
    split: str,
    *,
    skip_unreadable: bool = False,
    progress: Progress = lambda done, total: None,
) -> Evaluation:
    """Score a network on one split of a data set.

    Args:
        network: what to score.
        dataset: the data set.
        split: a name from `dataset.splits()`.
        skip_unreadable: leave damaged images out, and list them, instead of stopping.
        progress: called with the number of samples done and in all.

    Raises:
        DatasetError: the data set is for another task, has no such split, or holds a damaged image.
    """
    if dataset.task != network.contract.task:
        raise DatasetError(
            f"{dataset.root}: a data set for {dataset.task}, but {network.contract.name} "
            f"does {network.contract.task}"
        )
    samples = samples_of(dataset, split)
    score = _scorer(network, dataset, samples)
    unreadable: list[str] = []
    for done, sample in enumerate(samples, 1):
        try:
            image = read_image(sample.path)
        except FrameDecodeError as wrong:
            if not skip_unreadable:
                raise DatasetError(f"{wrong}; --skip-unreadable leaves such images out") from None
            unreadable.append(str(sample.path.relative_to(dataset.root)))
            continue
        score.add(sample, image)
        progress(done, len(samples))
    if len(unreadable) == len(samples):
        raise DatasetError(f"{dataset.root}: no image of split {split!r} can be read")
    result = score.finish(dataset)
    if result.ood_scores:
        flagged = float(np.mean(np.array(result.ood_scores) > 1.0))
        result.detail["out_of_distribution"] = {"flagged": flagged}
    result.detail.update(
        scores=dict(result.scores),
        network=network.contract.name,
        variant=f"{network.variant.target}-{network.variant.precision}",
        backend=network.backend.name,
        bundle=network.bundle.digest if network.bundle else None,
        dataset=dataset.name,
        split=split,
        images=len(samples) - len(unreadable),
        unreadable=unreadable,
    )
    return result


def _scorer(
    network: Network, dataset: Dataset, samples: Sequence[Sample]
) -> _Classified | _Segmented | _Labelled | _Masked:
    if dataset.task == "classification":
        return _Classified(network)
    if dataset.task == "multilabel":
        return _Labelled(network, dataset)
    boxes = all(isinstance(sample, BoxSample) for sample in samples)
    return _Segmented(network) if boxes else _Masked(network, dataset)


class _Labelled:
    """Collects logits and truth of a multilabel network."""

    def __init__(self, network: Network, dataset: Dataset) -> None:
        self._scores = LabelScores.of(network, dataset)
        self.add = self._scores.add

    def finish(self, dataset: Dataset) -> Evaluation:
        """Score what was collected."""
        scores, detail = self._scores.finish()
        logits, truth = np.stack(self._scores.logits), np.stack(self._scores.truth)
        return Evaluation(
            task="multilabel",
            scores=scores,
            detail=detail,
            logits=logits,
            truth=truth,
            ood_scores=tuple(self._scores.ood_scores),
        )


class _Masked:
    """Collects pixels of a network with class masks."""

    def __init__(self, network: Network, dataset: Dataset) -> None:
        self._scores = MaskScores.of(network, dataset)
        self.add = self._scores.add

    def finish(self, dataset: Dataset) -> Evaluation:
        """Score what was collected."""
        scores, detail = self._scores.finish()
        return Evaluation(task="segmentation", scores=scores, detail=detail)


class _Classified:
    """Collects logits and truth of a classifier."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._index = {label.id: i for i, label in enumerate(network.contract.labels)}
        self._logits: list[np.ndarray[Any, Any]] = []
        self._truth: list[int] = []
        self._ids: list[int] = []
        self._answers: list[Classification] = []
        self._groups: list[str] = []

    def add(self, sample: Sample, image: np.ndarray[Any, Any]) -> None:
        assert isinstance(sample, ImageSample)
        tensor, geometry = self._network.preprocessor(image)
        outputs = self._network.backend.infer(tensor)
        answer = self._network.decode(outputs, geometry)
        assert isinstance(answer, Classification)
        spec = self._network.variant.outputs["logits"].tensor
        self._logits.append(spec.dequantize(outputs["logits"])[0])
        self._truth.append(self._index.get(sample.label_id, -1))
        self._ids.append(sample.label_id)
        self._answers.append(answer)
        self._groups.append(sample.group)

    def finish(self, dataset: Dataset) -> Evaluation:
        """Score what was collected; classes the network lacks count as always wrong."""
        names = {label.id: label.name for label in dataset.labels}
        names |= {label.id: label.name for label in self._network.contract.labels}
        order = sorted(names)
        place = {id_: i for i, id_ in enumerate(order)}
        truth = [place[id_] for id_ in self._ids]
        answers = [place[answer.label_id] for answer in self._answers]
        report = classification_report(truth, answers, len(order))
        top = np.array([answer.probability for answer in self._answers], np.float32)
        right = np.equal(truth, answers)
        kept = np.array([not answer.abstained for answer in self._answers])
        detail = as_json(report, [names[id_] for id_ in order])
        detail["class_names"] = [names[id_] for id_ in order]
        detail.update(class_intervals(truth, answers, len(order), self._groups))
        detail["calibration"] = {
            "expected_calibration_error": expected_calibration_error(top, right),
            "abstain_below": self._network.contract.decision.abstain_below,
            "coverage": float(kept.mean()),
            "accuracy_of_the_answered": float(right[kept].mean()) if kept.any() else None,
            **calibration(top, right),
        }
        detail["definitions"] = {
            "macro_f1": "mean F1 over the classes present in the split",
            "accuracy_interval_95": "Wilson, images taken as independent (bursts are not)",
            "expected_calibration_error": "15 equal-width bins of the top probability",
            **CLASS_DEFINITIONS,
        }
        return Evaluation(
            task="classification",
            scores={"accuracy": report.accuracy, "macro_f1": report.macro_f1},
            detail=detail,
            logits=np.stack(self._logits),
            truth=np.array(self._truth),
            ood_scores=tuple(a.ood_score for a in self._answers if a.ood_score is not None),
        )


class _Segmented:
    """Collects masks and features of a segmenter, compared in network pixels."""

    def __init__(self, network: Network) -> None:
        decision = network.contract.decision
        self._threshold = decision.feature_threshold
        floor = min(AP_FLOOR, self._threshold)
        self._network = network.with_decision(
            replace(decision, feature_threshold=floor, max_features=1024)
        )
        self._pixels = PixelCounts()
        self._objects = ObjectCounts()

    def add(self, sample: Sample, image: np.ndarray[Any, Any]) -> None:
        assert isinstance(sample, BoxSample)
        answer, _ = self._network.run(image)
        assert isinstance(answer, Segmentation)
        g = answer.geometry
        to_network = (g.scale_x, g.scale_y, 0.5 * g.scale_x - 0.5, 0.5 * g.scale_y - 0.5)
        labelled = [e.mapped(*to_network) for e in sample.ellipses(image.shape[1], image.shape[0])]
        truth = np.zeros((g.height, g.width), np.uint8)
        draw_ellipses(truth, labelled)
        _, height, width, _ = self._network.variant.input.shape
        mask = answer.mask
        if mask.shape != (height, width):
            mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)  # type: ignore[assignment]
        inner = mask[g.top : g.top + g.height, g.left : g.left + g.width]
        self._pixels.add(inner > 0, truth > 0)
        found = [(f.ellipse.mapped(*to_network), f.score) for f in answer.features]
        self._objects.add(found, labelled, g.width, g.height)

    def finish(self, dataset: Dataset) -> Evaluation:
        """Score what was collected at the bundle's thresholds."""
        pixels = self._pixels.scores()
        objects = self._objects.at(self._threshold)
        average = self._objects.average_precision()
        scores = {
            **pixels,
            "object_precision": objects["precision"],
            "object_recall": objects["recall"],
            "object_f1": objects["f1"],
            "object_ap": average,
        }
        detail = {
            "pixels": pixels,
            "objects": {
                **objects,
                "average_precision": average,
                "labelled": self._objects.labelled,
                "feature_threshold": self._threshold,
            },
            **mask_statistics(self._pixels, self._objects, self._threshold),
            "definitions": {
                "pixels": "labels drawn as ellipses on the network's grid; counts summed over the "
                "split (micro); mask above the bundle's threshold",
                "objects": f"one to one, IoU >= {MATCH_IOU} of ellipses clipped to the image, "
                f"diameter >= {MIN_DIAMETER_PX:g} network px, at least half inside",
                "average_precision": f"area under precision-recall, scores >= {AP_FLOOR}",
                **MASK_DEFINITIONS,
            },
        }
        return Evaluation(task="segmentation", scores=scores, detail=detail, objects=self._objects)
