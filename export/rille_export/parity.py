"""Did quantisation cost accuracy? Float and int8 on the same split, through the runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.bundle.manifest import Decision
from rille.evaluate import Evaluation
from rille.postprocess.classification import sigmoid

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LIMITS = {
    "accuracy": 0.01,
    "macro_f1": 0.01,
    "dice": 0.01,
    "object_f1": 0.01,
    "macro_ap": 0.01,
    "macro_dice": 0.01,
}
_LEAST_AGREEMENT = 0.97
_MOST_RECALL, _LEAST_IMAGES = 0.05, 2
"""A class may lose so much of its recall; where that is a single image, it says nothing."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Scores before and after quantisation.

    Attributes:
        before, after: score name -> value, float and int8.
        agreement: share of the same answers: images of a classifier, decisions of a multilabel
            network; None for masks.
        failures: what is beyond its limit, in words; empty if all is well.
        mute: whether the float network itself says nothing, whatever thresholds were fitted.
    """

    before: dict[str, float]
    after: dict[str, float]
    agreement: float | None
    failures: tuple[str, ...]
    mute: bool = False

    def table(self) -> str:
        """Return the comparison as lines of text."""
        lines = [f"{'':18s} {'float':>8s} {'here':>8s} {'change':>8s} {'limit':>8s}"]
        for name, value in self.before.items():
            limit = f"{-_LIMITS[name]:8.3f}" if name in _LIMITS else ""
            after = self.after[name]
            lines.append(f"{name:18s} {value:8.4f} {after:8.4f} {after - value:+8.4f} {limit}")
        if self.agreement is not None:
            lines.append(f"{'same answer':18s} {'':8s} {self.agreement:8.4f}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return everything, for the manifest."""
        return {"float": self.before, "here": self.after, "agreement": self.agreement}


def compare(before: Evaluation, after: Evaluation, decision: Decision) -> Parity:
    """Compare an int8 network with its float form on the same split.

    Limits: accuracy, macro-F1, macro-AP, Dice and object F1 may fall by 0.01; 97 % of the answers
    must be the same; no class may lose more than 5 points of recall, where that is two images or
    more. A float network that answers every image alike cannot be compared with, and fails too.

    Args:
        before, after: scores of the two.
        decision: what both decide by.
    """
    failures = [
        f"{name} falls from {before.scores[name]:.4f} to {after.scores[name]:.4f}"
        for name, limit in _LIMITS.items()
        if name in before.scores and not after.scores[name] >= before.scores[name] - limit
    ]
    agreement = None
    if before.task != "segmentation":
        said, says = (_decided(result, decision) for result in (before, after))
        same = said == says
        agreement = float(np.mean(same))
        if agreement < _LEAST_AGREEMENT:
            failures.append(f"only {100 * agreement:.1f} % of the answers are the same")
    failures += _lost_classes(before, after)
    nothing = _says_nothing(before, decision)
    failures += nothing
    # Labels and objects alone are found by thresholds, and those were fitted on integers.
    by_itself = before.task == "classification" or before.scores.keys() & {"dice", "macro_dice"}
    mute = bool(nothing and by_itself)
    return Parity(before.scores, after.scores, agreement, tuple(failures), mute)


def _lost_classes(before: Evaluation, after: Evaluation) -> list[str]:
    """Return a sentence for each class of a classifier that loses too much of its recall."""
    if before.task != "classification":
        return []
    said = []
    for name, row in before.detail.get("per_class", {}).items():
        lost = row["recall"] - after.detail["per_class"][name]["recall"]
        if lost > _MOST_RECALL and round(lost * row["images"]) >= _LEAST_IMAGES:
            said.append(f"{name} loses {100 * lost:.0f} points of recall ({row['images']} images)")
    return said


def _says_nothing(before: Evaluation, decision: Decision) -> list[str]:
    """Return a sentence where the float network answers alike whatever it is shown.

    Everything agrees with such a network: one with wrong statistics in its batch normalisation
    passed every other check.
    """
    if before.task == "segmentation":
        found = max(before.scores.get(name, 0.0) for name in ("dice", "macro_dice", "object_f1"))
        return [] if found > 0 else ["the float network finds nothing in any image"]
    said = _decided(before, decision)
    varied = len({str(row) for row in before.truth.tolist()}) > 1
    if not varied or any(not np.array_equal(row, said[0]) for row in said[1:]):
        return []
    return [f"the float network gives one answer to all {len(said)} images"]


def _decided(result: Evaluation, decision: Decision) -> NDArray[Any]:
    """Return what a classifier answers to each image, or a multilabel network to each label."""
    if result.task == "classification":
        return np.asarray(result.logits.argmax(axis=1))
    thresholds = decision.label_thresholds or (0.5,) * result.logits.shape[1]
    return np.asarray(sigmoid(result.logits, decision.temperature) >= np.array(thresholds))
