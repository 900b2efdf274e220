"""From single trials to shares with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from rille.metrics import wilson_interval
from rille.seu.defence import golden_frames
from rille.seu.flips import Flip, Part
from rille.seu.trial import Outcome

Tried = Sequence[tuple[Flip, Outcome]]


def share(count: int, total: int) -> dict[str, Any]:
    """Return a share and its Wilson 95 % interval; None for one of nothing."""
    if not total:
        return {"count": 0, "of": 0, "share": None, "low": None, "high": None}
    low, high = wilson_interval(count, total)
    return {"count": count, "of": total, "share": count / total, "low": low, "high": high}


def summary(
    tried: Tried,
    scrubbed: Sequence[int | None],
    *,
    pictures: int,
    golden_images: int,
    check_every: int,
    seed: int,
) -> dict[str, Any]:
    """Return everything that is stated of one network.

    Args:
        tried: flips and what came of them.
        scrubbed: for each of those of `Part.ALL`, after how many frames its checksum told.
        pictures: each trial saw.
        golden_images: of the bundle.
        check_every: frames between two golden images.
        seed: of the moments at which bits flip.
    """
    single = [pair for pair in tried if pair[0].part is Part.ALL]
    by_layer = [pair for pair in tried if pair[0].part in (Part.ALL, Part.LAYER)]
    structure = [o for flip, o in tried if flip.part is Part.STRUCTURE]
    rng = np.random.default_rng([seed, 6])
    told = [golden_frames(o, golden_images, check_every, rng) for _, o in single]
    return {
        "overall": _rates([o for _, o in single]),
        "by_bit": _grouped(single, lambda flip: str(flip.bit)),
        "by_layer": _grouped(by_layer, lambda flip: flip.layer),
        "by_dose": _grouped(
            [p for p in tried if p[0].part is Part.DOSE], lambda flip: str(len(flip.places))
        ),
        "defences": _defences([o for _, o in single], told, scrubbed, pictures),
        "structure": {
            ended: share(sum(o.ended == ended for o in structure), len(structure))
            for ended in ("ran", "refused", "crashed", "hung")
        }
        | {"answer_changed": share(sum(o.answers > 0 for o in structure), len(structure))},
    }


def _rates(found: Sequence[Outcome]) -> dict[str, Any]:
    """Return how many trials changed numbers, answers, and answers without a sign."""
    total = len(found)
    return {
        "numbers_changed": share(sum(o.numbers > 0 for o in found), total),
        "answer_changed": share(sum(o.answers > 0 for o in found), total),
        "silent": share(sum(o.silent > 0 for o in found), total),
        "not_run": share(sum(o.ended != "ran" for o in found), total),
    }


def _grouped(tried: Tried, key: Callable[[Flip], str]) -> dict[str, Any]:
    groups: dict[str, list[Outcome]] = {}
    for flip, outcome in tried:
        groups.setdefault(key(flip), []).append(outcome)
    ordered = sorted(groups, key=lambda name: (int(name.split()[0]), name))
    return {name: _rates(groups[name]) for name in ordered}


def _defences(
    found: Sequence[Outcome],
    golden: Sequence[int | None],
    scrubbed: Sequence[int | None],
    pictures: int,
) -> dict[str, Any]:
    """Return for each defence what it notices: of all flips, and of those that change answers."""
    guards = [o.first_refused + 1 if o.first_refused >= 0 else None for o in found]
    harmful = [o.answers > 0 for o in found]
    measured = {
        "checksums of the source": _noticed(scrubbed, harmful),
        "golden images": _noticed(golden, harmful),
        "output guards": _noticed(guards, harmful),
    }
    voting = [o for o in found if o.outvoted >= 0]
    wrong = sum(o.answers for o in voting)
    measured["vote"] = {
        "wrong_frames": share(wrong, pictures * len(voting)),
        "wrong_frames_with_vote": share(sum(o.outvoted for o in voting), pictures * len(voting)),
    }
    return measured


def _noticed(frames: Sequence[int | None], harmful: Sequence[bool]) -> dict[str, Any]:
    of_harmful = [n for n, bad in zip(frames, harmful, strict=True) if bad]
    return {
        "of_all": share(_told(frames), len(frames)),
        "of_harmful": share(_told(of_harmful), len(of_harmful)),
        "frames": _latency(frames),
        "frames_harmful": _latency(of_harmful),
    }


def _told(frames: Iterable[int | None]) -> int:
    return sum(n is not None for n in frames)


def _latency(frames: Sequence[int | None]) -> Mapping[str, float | None]:
    known = sorted(n for n in frames if n is not None)
    if not known:
        return {"median": None, "p95": None, "max": None}
    return {
        "median": float(median(known)),
        "p95": float(np.percentile(known, 95)),
        "max": float(known[-1]),
    }
