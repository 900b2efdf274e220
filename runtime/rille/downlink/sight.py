"""What one frame shows, as far as choosing needs it: a descriptor, its labels, its doubt."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GRID = (12, 9)
_BINS = 16
_SOME, _MUCH = 0.002, 0.02
"""Shares of the frame from which on a class is there at all, and from which on there is much."""
_SPOILED = {"dark": 0.3, "saturated": 0.5, "flat": 0.3, "blurred": 0.5, "frozen": 0.1}
"""Flaw of a picture -> what is left of its worth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """One frame that could be sent.

    Attributes:
        index: the frame's index.
        labels: what is there -> how strongly, above 0 to 1: probability of a class, or the root
            of its share of the frame, a fiftieth and more being 1.
        kind: the labels with their degree (some or much), in order: the kind of scene.
        doubt: 0 for a sure answer to 1 for none at all; one that abstained, or is out
            of distribution, has at least 0.5.
        worth: what flaws of the picture leave of it, 0 to 1.
        picture: coarse structure and histogram of the picture, float32.
        shares: label -> share of the frame.
    """

    index: int
    labels: Mapping[str, float]
    kind: tuple[str, ...]
    doubt: float
    worth: float
    picture: NDArray[np.float32] = field(repr=False)
    shares: Mapping[str, float]


def see(index: int, record: Mapping[str, Any], pixels: NDArray[np.uint8]) -> Sight:
    """Describe a frame from its result record and its pixels."""
    labels = _class_labels(record.get("classification"))
    shares = dict((record.get("segmentation") or {}).get("shares", {}))
    kind = list(labels)
    for label, share in shares.items():
        if share >= _SOME:
            labels[label] = max(labels.get(label, 0.0), min(1.0, math.sqrt(share / _MUCH)))
            kind.append(f"{'much' if share >= _MUCH else 'some'} {label}")
    worth = math.prod(_SPOILED.get(flaw, 1.0) for flaw in record.get("quality", ()))
    return Sight(
        index=index,
        labels=labels,
        kind=tuple(sorted(kind)),
        doubt=_doubt(record.get("classification")),
        worth=worth,
        picture=_picture(pixels),
        shares=shares,
    )


def _class_labels(answer: Mapping[str, Any] | None) -> dict[str, float]:
    if not answer:
        return {}
    if answer.get("labels"):
        return {name: p for name, p in answer["labels"].items() if p >= 0.5}
    return {answer["label"]: float(answer["probability"])}


def _doubt(answer: Mapping[str, Any] | None) -> float:
    if not answer:
        return 0.5
    entropy = float(answer["entropy"])
    unsure = answer["abstained"] or answer.get("out_of_distribution", False)
    return max(entropy, 0.5) if unsure else entropy


def _picture(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return structure (a small image without its mean and contrast) and histogram."""
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, _GRID, interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    structure = small / max(float(np.linalg.norm(small)), 1.0)
    counts = np.histogram(grey, _BINS, (0, 256))[0].astype(np.float32)
    histogram = np.sqrt(counts / counts.sum())
    return np.concatenate([structure, histogram])


def descriptors(sights: list[Sight]) -> NDArray[np.float32]:
    """Return (frames, numbers): pictures, labels and shares side by side, to be held apart."""
    names = sorted({name for s in sights for name in s.labels})
    covers = sorted({name for s in sights for name in s.shares})
    rows = []
    for sight in sights:
        seen = [sight.labels.get(name, 0.0) for name in names]
        shares = [math.sqrt(max(0.0, sight.shares.get(name, 0.0))) for name in covers]
        rows.append(np.concatenate([sight.picture, seen, shares]).astype(np.float32))
    return np.stack(rows)
