"""Fitting what tells familiar pictures from others; see `rille.familiarity`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.bundle import Bundle
from rille.bundle.manifest import FEATURES, Contract, Familiarity
from rille.datasets import Dataset, Sample, samples_of
from rille.familiarity import FamiliarityCheck
from rille.images import read_image
from rille.network import Network
from rille.result import Classification
from rille_export import calibration
from rille_export.forms import Form
from rille_export.run_folder import Splits

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILE = "familiarity.bin"
_MOST_TRAINED, _MOST_SCORED = 1500, 1000
_DIRECTIONS = 32
"""Of MobileNetV2's 1280 features on 363 scenes: what a session left out of the fit has outside of
as many directions tells other pictures best (AUROC .92 to .98; 16: .89 to .98, 64: .88 to .98)."""
_RARE = 0.95
_FOLDS = 5
_LEAST_DOUBT, _LEAST_DISTANCE = 0.01, 1e-6
_LARGEST = 32767


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What was fitted.

    Attributes:
        known: for the manifest.
        content: of the file it names.
        record: how it was fitted and how often it is wrong, for the manifest's metrics.
    """

    known: Familiarity
    content: bytes
    record: dict[str, Any]


def fit_familiarity(
    contract: Contract,
    form: Form,
    dataset: Dataset,
    data: Splits,
    source: Bundle | None,
    extra: Sequence[Sample],
    say: Callable[[str], None],
) -> Fitted | None:
    """Fit the subspace on training images, its limits on images it was not fitted on.

    The limit of strangeness is that which one in twenty training images exceeds while its group
    (session, burst) is left out. That of doubt is what one in twenty validation images
    exceeds; of a network that was trained on them, that of `source`, or none.

    Args:
        contract: its decision fitted.
        form: the network.
        dataset: what it was trained on.
        data: names of the splits.
        source: the same network trained on less, if its decision is taken.
        extra: training images of further data sets: up to a third as many as of its own enter the
            subspace, and none the limits.
        say: called with a line.

    Returns:
        None where the network gives no features.
    """
    if FEATURES not in form.variant.outputs:
        if contract.task != "segmentation":
            say("no out-of-distribution score: no global pooling before the logits was found")
        return None
    network = form.network(contract)
    own = calibration.choose(samples_of(dataset, data.train), _MOST_TRAINED)
    besides = calibration.choose(extra, len(own) // 3)
    say(
        f"fitting the out-of-distribution score on {len(own)} images of split {data.train} and "
        f"{len(besides)} besides"
    )
    units, limit = _trained_on(network, own, besides)
    rows, steps = _stored_rows(*_subspace(units))
    scored = calibration.choose(samples_of(dataset, data.validation), _MOST_SCORED)
    features, said = _answers(network, scored)
    doubt = _doubt_limit(contract, said, scored, data, source)
    sizes = tuple(float(step) for step in steps)
    known = Familiarity(
        file=FILE, numbers=units.shape[1], steps=sizes, strangeness=limit, doubt=doubt
    )
    check = FamiliarityCheck(known, rows.tobytes(), form.variant.outputs[FEATURES].tensor)
    share = _flagged(check, features, said)
    say(f"flags {100 * share:.1f} % of {len(said)} images of split {data.validation}")
    record = {
        "fitted_on_images": len(own),
        "fitted_on_images_besides": len(besides),
        "directions": len(steps) - 1,
        "validation_images": len(said),
        "validation_flagged": share,
        "doubt_from": _doubt_from(doubt, data, source),
    }
    return Fitted(known=known, content=rows.tobytes(), record=record)


def _answers(
    network: Network, samples: Sequence[Sample]
) -> tuple[list[NDArray[Any]], list[Classification]]:
    """Return stored features and answers."""
    features, said = [], []
    for sample in samples:
        tensor, geometry = network.preprocessor(read_image(sample.path))
        outputs = network.backend.infer(tensor)
        answer = network.decode(outputs, geometry)
        assert isinstance(answer, Classification)
        features.append(outputs.get(FEATURES, np.zeros((1, 0))).copy())
        said.append(answer)
    return features, said


def _trained_on(
    network: Network, own: Sequence[Sample], besides: Sequence[Sample]
) -> tuple[NDArray[np.float64], float]:
    """Return features of unit length, and the distance that few of the own exceed held out."""
    stored, _ = _answers(network, [*own, *besides])
    units = _of_unit_length(network, stored)
    groups = [f"{k >= len(own)} {sample.group}" for k, sample in enumerate([*own, *besides])]
    limit = np.quantile(_held_out(units, groups)[: len(own)], _RARE)
    return units, max(float(limit), _LEAST_DISTANCE)


def _flagged(
    check: FamiliarityCheck, features: Sequence[NDArray[Any]], said: Sequence[Classification]
) -> float:
    """Return the share of pictures that are out of distribution."""
    scores = [check(x, answer.probability) for x, answer in zip(features, said, strict=True)]
    return float(np.mean(np.array(scores) > 1.0))


def _of_unit_length(network: Network, stored: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """Return (images, n) features of length 1; of length 0 where all are 0."""
    real = network.variant.outputs[FEATURES].tensor.dequantize(np.concatenate(stored))
    lengths = np.linalg.norm(real.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(real / np.maximum(lengths, 1e-12))


def _subspace(units: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean (n,) and the directions (k, n) of largest spread, k less than half of n."""
    images, numbers = units.shape
    mean = units.mean(axis=0)
    count = min(_DIRECTIONS, numbers // 2, images // 4)
    _, directions = np.linalg.eigh(np.cov((units - mean).T, bias=True).reshape(numbers, numbers))
    return mean, np.asarray(directions[:, ::-1][:, :count].T)


def _outside(
    units: NDArray[np.float64], mean: NDArray[np.float64], directions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the squared distance of each row from a subspace."""
    away = units - mean
    return np.asarray((away**2).sum(axis=1) - ((away @ directions.T) ** 2).sum(axis=1))


def _held_out(units: NDArray[np.float64], groups: Sequence[str]) -> NDArray[np.float64]:
    """Return the squared distance of each row while its group is left out of the fit."""
    names = sorted(set(groups))
    if len(names) < _FOLDS:  # too few to leave any out: images in turn
        fold = np.arange(len(units)) % _FOLDS
    else:
        order = np.random.default_rng(1).permutation(len(names)) % _FOLDS
        of = dict(zip(names, order, strict=True))
        fold = np.array([of[group] for group in groups])
    found = np.zeros(len(units))
    for k in range(_FOLDS):
        out = fold == k
        if out.any() and not out.all():
            found[out] = _outside(units[out], *_subspace(units[~out]))
    return found


def _stored_rows(
    mean: NDArray[np.float64], directions: NDArray[np.float64]
) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Return mean and directions as whole numbers, a row each, and the step of each row."""
    rows = np.concatenate([mean[None], directions])
    steps = np.maximum(np.abs(rows).max(axis=1), 1e-9) / _LARGEST
    return np.rint(rows / steps[:, None]).astype("<i2"), steps


def _doubt_limit(
    contract: Contract,
    said: Sequence[Classification],
    samples: Sequence[Sample],
    data: Splits,
    source: Bundle | None,
) -> float | None:
    """Return the doubt that one in twenty validation images exceeds.

    Returns:
        None for independent labels, whose least certain one tells nothing (AUROC .59 to .69), and
        where all these images were trained on.
    """
    if contract.task != "classification":
        return None
    if data.seen:
        if source is None:
            return None
        unseen = Network.load(source, threads=2).with_decision(contract.decision)
        _, said = _answers(unseen, samples)
        unseen.close()
    doubts = [1.0 - answer.probability for answer in said]
    return max(float(np.quantile(doubts, _RARE)), _LEAST_DOUBT)


def _doubt_from(doubt: float | None, data: Splits, source: Bundle | None) -> str:
    if doubt is None:
        return "none"
    whose = f"bundle {source.digest}" if data.seen and source is not None else "this network"
    return f"{whose} on split {data.validation}"
