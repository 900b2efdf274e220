"""Temperature and thresholds, fitted on the outputs of the very network that will fly."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rille.bundle.manifest import Decision
from rille.evaluate import Evaluation
from rille.postprocess.classification import sigmoid, softmax
from rille.scene_scores import fitted_thresholds

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GOAL = 0.95


def fit_decision(decision: Decision, result: Evaluation) -> Decision:
    """Return a decision fitted on a validation split.

    A classifier gets the temperature of least negative log-likelihood and, as abstention
    threshold, the least probability at which 95 % of the answers given are right. A multilabel
    network gets the temperature, and for each label the threshold of the highest F1. A crater
    segmenter gets the feature threshold of the highest object F1; class masks keep the recipe's.

    Args:
        decision: everything else is kept from it.
        result: scores of the quantised network on the validation split.
    """
    if result.task == "classification":
        known = result.truth >= 0
        logits, truth = result.logits[known], result.truth[known]
        temperature = fit_temperature(logits, truth)
        probabilities = softmax(logits, temperature)
        right = probabilities.argmax(axis=1) == truth
        threshold = abstention_threshold(probabilities.max(axis=1), right, _GOAL)
        return replace(
            decision,
            temperature=round(temperature, 4),
            abstain_below=round(max(threshold, decision.abstain_below), 3),
        )
    if result.task == "multilabel":
        temperature = fit_temperature(result.logits, result.truth, independent=True)
        logits = fitted_thresholds(result.logits, result.truth)
        thresholds = np.clip(sigmoid(logits, temperature), 0.02, 0.98)
        return replace(
            decision,
            temperature=round(temperature, 4),
            label_thresholds=tuple(round(float(p), 3) for p in thresholds),
        )
    if result.objects is None:
        return decision
    threshold, _ = result.objects.best_threshold()
    return replace(decision, feature_threshold=round(threshold, 3))


def fit_temperature(
    logits: NDArray[np.float32], truth: NDArray[np.int64], *, independent: bool = False
) -> float:
    """Return the temperature of least mean negative log-likelihood (Guo et al. 2017).

    A golden-section search over ln T in [ln 0.05, ln 20]; the likelihood has one minimum there.

    Args:
        logits: (n, classes).
        truth: (n,) class indices; independent: (n, classes) 1, 0, or -1 to leave out.
        independent: a sigmoid for each class instead of one softmax.
    """
    rows = np.arange(len(truth))

    def loss(log_t: float) -> float:
        if independent:
            yes = sigmoid(logits, float(np.exp(log_t)))
            p = np.where(truth == 1, yes, 1 - yes)[truth >= 0]
        else:
            p = softmax(logits, float(np.exp(log_t)))[rows, truth]
        return float(-np.log(np.maximum(p, 1e-12)).mean())

    low, high, shrink = np.log(0.05), np.log(20.0), (np.sqrt(5.0) - 1) / 2
    while high - low > 1e-4:
        left, right = high - shrink * (high - low), low + shrink * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def abstention_threshold(
    probability: NDArray[np.float32], right: NDArray[np.bool_], goal: float
) -> float:
    """Return the least probability above which at least `goal` of the answers are right.

    Returns 0 where all answers together already reach the goal, 1 where no threshold does.
    """
    order = np.argsort(-probability, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(share >= goal)
    if not len(good):
        return 1.0
    last = good[-1]
    return 0.0 if last == len(order) - 1 else float(probability[order][last])
