"""How much of each class a split holds, for each kind of label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rille.datasets.base import IGNORED, BoxSample, ImageSample, Label, MultiLabelSample, Sample

TOLERANCE = 0.2
"""A class whose share in val differs by more than this from that in train, relatively, is named."""


def is_mask(sample: Sample) -> bool:
    """Return whether a sample states a class for each pixel."""
    return not isinstance(sample, ImageSample | MultiLabelSample | BoxSample)


def balance(
    samples: Sequence[Sample],
    labels: Sequence[Label],
    sizes: Mapping[Path, tuple[int, int]],
    pixels: Mapping[Path, Sequence[int]],
) -> dict[str, Any]:
    """Count the classes of one split.

    Args:
        samples: the split.
        labels: its classes.
        sizes: (width, height) in pixels of the images that can be read.
        pixels: for class masks, how often each of the 256 values occurs; images that were not
            read are left out.

    Returns:
        "kind" ("classes", "yes-no", "boxes" or "masks"); "classes": for each its id, name, count
        and share. Count: images with the class, for boxes the boxes. Share: of the images; of the
        clear cases; boxes an image; of the pixels that are not ignored. None where nothing was
        counted. Further figures that the kind has.
    """
    first = samples[0] if samples else None
    if isinstance(first, MultiLabelSample):
        return _yes_no([s for s in samples if isinstance(s, MultiLabelSample)], labels)
    if isinstance(first, BoxSample):
        return _boxes([s for s in samples if isinstance(s, BoxSample)], labels, sizes)
    if isinstance(first, ImageSample):
        return _classes([s for s in samples if isinstance(s, ImageSample)], labels)
    return _masks([pixels[s.path] for s in samples if s.path in pixels], labels)


def uneven(train: Mapping[str, Any], val: Mapping[str, Any]) -> list[str]:
    """Return the names of the classes whose shares differ by more than `TOLERANCE`.

    Args:
        train, val: what `balance` returned for the two splits.
    """
    if train["kind"] != val["kind"]:
        return []
    pairs = zip(train["classes"], val["classes"], strict=True)
    return [a["name"] for a, b in pairs if not _alike(a["share"], b["share"])]


def _alike(train: float | None, val: float | None) -> bool:
    if train is None or val is None:
        return True
    return abs(val - train) <= TOLERANCE * train


def _row(label: Label, count: int, share: float | None, **more: Any) -> dict[str, Any]:
    return {"id": label.id, "name": label.name, "count": count, "share": share, **more}


def _classes(samples: Sequence[ImageSample], labels: Sequence[Label]) -> dict[str, Any]:
    counts = [sum(s.label_id == label.id for s in samples) for label in labels]
    rows = [_row(k, n, n / len(samples)) for k, n in zip(labels, counts, strict=True)]
    return {"kind": "classes", "classes": rows}


def _yes_no(samples: Sequence[MultiLabelSample], labels: Sequence[Label]) -> dict[str, Any]:
    rows = []
    for k, label in enumerate(labels):
        stated = [s.holds[k] for s in samples if s.holds[k] is not None]
        share = sum(map(bool, stated)) / len(stated) if stated else None
        unclear = len(samples) - len(stated)
        rows.append(_row(label, sum(map(bool, stated)), share, unclear=unclear))
    return {"kind": "yes-no", "classes": rows}


def _boxes(
    samples: Sequence[BoxSample], labels: Sequence[Label], sizes: Mapping[Path, tuple[int, int]]
) -> dict[str, Any]:
    ids = [box[0] for s in samples for box in s.boxes]
    rows = [_row(k, ids.count(k.id), ids.count(k.id) / len(samples)) for k in labels]
    each = [len(s.boxes) for s in samples]
    sides = [
        (w * sizes[s.path][0], h * sizes[s.path][1])
        for s in samples
        if s.path in sizes
        for _, _, _, w, h in s.boxes
    ]
    width, height = (_percentiles([side[k] for side in sides]) for k in range(2))
    return {
        "kind": "boxes",
        "classes": rows,
        "boxes_per_image": {"min": min(each), "median": float(np.median(each)), "max": max(each)},
        "empty_images": each.count(0),
        "width_px": width,
        "height_px": height,
    }


def _percentiles(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    found = np.percentile(values, [5, 50, 95])
    return {name: float(v) for name, v in zip(("p5", "p50", "p95"), found, strict=True)}


def _masks(pixels: Sequence[Sequence[int]], labels: Sequence[Label]) -> dict[str, Any]:
    """Count pixels; a mask's value k stands for label k - 1."""
    if not pixels:
        rows = [{"id": k.id, "name": k.name, "count": None, "share": None} for k in labels]
        return {"kind": "masks", "classes": rows}
    table = np.asarray(pixels, np.int64)
    total, ignored = int(table.sum()), int(table[:, IGNORED].sum())
    counted = max(1, total - ignored)
    rows = [
        _row(label, int((table[:, k] > 0).sum()), int(table[:, k].sum()) / counted)
        for k, label in enumerate(labels, 1)
    ]
    return {
        "kind": "masks",
        "classes": rows,
        "ignored_share": ignored / max(1, total),
        "empty_images": int((table[:, 1 : len(labels) + 1].sum(axis=1) == 0).sum()),
    }
