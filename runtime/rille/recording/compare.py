"""Two runs over the same frames, field by field."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from rille.errors import CheckFailedError
from rille.recording.pairing import are_features, pair_features

TIMES = ("captured_ns", "published_ns", "age_ms", "timings_ms.*", "readings_ns.*")
"""Fields that no two runs share."""
_OF_RECORDINGS = ("digests", "grid", "readings_ns")
_ABSENT = "absent"
_MAX_PENDING = 1_000_000


@dataclass(slots=True)
class Difference:
    """One field that differs.

    Attributes:
        path: which field; "[]" stands for any element of a list.
        frames: on how many frames.
        first_frame: index of the first.
        first: the two values there; "absent" where one has none.
        largest: the largest difference of numbers; None where none was between numbers.
    """

    path: str
    frames: int
    first_frame: int
    first: tuple[Any, Any]
    largest: float | None = None
    _last_frame: int = field(default=-1, repr=False)

    def add(self, frame: int, size: float | None) -> None:
        """Count one more place."""
        if frame != self._last_frame:
            self.frames += 1
            self._last_frame = frame
        if size is not None:
            self.largest = max(size, self.largest or 0.0)


@dataclass(slots=True)
class Comparison:
    """What came of a comparison.

    Attributes:
        frames: frames that both have.
        differing: of those, how many differ in any field.
        only_a, only_b: indices of frames that one alone has.
        differences: path -> what differs there, in the order found.
    """

    frames: int = 0
    differing: int = 0
    only_a: list[int] = field(default_factory=list)
    only_b: list[int] = field(default_factory=list)
    differences: dict[str, Difference] = field(default_factory=dict)

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not (self.differing or self.only_a or self.only_b)

    def to_json(self) -> dict[str, Any]:
        """Return everything, for a file."""
        return {
            "frames": self.frames,
            "differing": self.differing,
            "only_a": self.only_a,
            "only_b": self.only_b,
            "fields": {
                path: {
                    "frames": d.frames,
                    "first_frame": d.first_frame,
                    "first": list(d.first),
                    "largest": d.largest,
                }
                for path, d in self.differences.items()
            },
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What counts as different.

    Attributes:
        ignore: patterns of paths that do not count (`*` stands for anything).
        tolerance: numbers may differ by so much; 0 for not at all. Whole ones may not: they count
            or name something.
        tolerances: pattern of paths -> the tolerance there; the first that fits counts.
    """

    ignore: tuple[str, ...] = TIMES
    tolerance: float = 0.0
    tolerances: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for value in (self.tolerance, *self.tolerances.values()):
            if not 0 <= value < math.inf:
                raise ValueError(f"a tolerance must be a number from 0, not {value:g}")

    def ignores(self, path: str) -> bool:
        """Say whether a path does not count."""
        return any(fnmatch.fnmatchcase(path, pattern) for pattern in self.ignore)

    def allows(self, path: str, whole: bool) -> float:
        """Return by how much numbers may differ there; `whole` where both are whole."""
        for pattern, value in self.tolerances.items():
            if fnmatch.fnmatchcase(path, pattern):
                return value
        return 0.0 if whole else self.tolerance


def compare(
    a: Iterable[Mapping[str, Any]], b: Iterable[Mapping[str, Any]], rules: Rules | None = None
) -> Comparison:
    """Compare result records, matched by the index of their frame, in whatever order they come.

    Features are paired by label and place, because their order follows their scores. "(count)"
    tells how many there are, "(paired)" how many of the longer list have a partner in the other.

    What only recordings have (digests, clock readings, the grid of the mask) counts where both
    sides have it. Memory grows with how far the two orders are apart, not with the length.

    Raises:
        CheckFailedError: the two share so little that they cannot be held against each other.
    """
    rules = rules or Rules()
    result = Comparison()
    for one, other in _pairs(a, b, result):
        result.frames += 1
        before = sum(d.frames for d in result.differences.values())
        _compare_records(one, other, rules, result)
        result.differing += sum(d.frames for d in result.differences.values()) > before
    return result


def _pairs(
    a: Iterable[Mapping[str, Any]], b: Iterable[Mapping[str, Any]], result: Comparison
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Match records by frame; note those that stay alone."""
    waiting: tuple[dict[int, Any], dict[int, Any]] = ({}, {})
    for both in zip_longest(a, b):
        for side, record in enumerate(both):
            if record is None:
                continue
            partner = waiting[1 - side].pop(record["frame"], None)
            if partner is not None:
                yield (partner, record) if side else (record, partner)
            else:
                waiting[side][record["frame"]] = record
        if len(waiting[0]) + len(waiting[1]) > _MAX_PENDING:
            raise CheckFailedError("the two have no frames in common: are they of one stream?")
    result.only_a, result.only_b = sorted(waiting[0]), sorted(waiting[1])


def _compare_records(
    one: Mapping[str, Any], other: Mapping[str, Any], rules: Rules, result: Comparison
) -> None:
    for path, left, right in _walk(one, other, ""):
        if path.partition(".")[0] in _OF_RECORDINGS and not _both(one, other, path):
            continue
        if rules.ignores(path):
            continue
        size = _distance(path, left, right)
        whole = isinstance(left, int) and isinstance(right, int)
        if left == right or (size is not None and size <= rules.allows(path, whole)):
            continue
        known = result.differences.get(path)
        if known is None:
            known = Difference(path, 0, one["frame"], (left, right))
            result.differences[path] = known
        known.add(one["frame"], size)


def _both(one: Mapping[str, Any], other: Mapping[str, Any], path: str) -> bool:
    top = path.partition(".")[0]
    return bool(one.get(top)) and bool(other.get(top))


def _walk(left: Any, right: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the path and both values of each leaf."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        for key in dict.fromkeys([*left, *right]):
            inner = f"{path}.{key}" if path else str(key)
            yield from _walk(left.get(key, _ABSENT), right.get(key, _ABSENT), inner)
    elif _tables(left) and _tables(right):
        yield f"{path} (count)", len(left), len(right)
        pairs = list(zip(left, right, strict=False))
        if left != right and are_features(left) and are_features(right):
            pairs = pair_features(left, right)
            yield f"{path} (paired)", max(len(left), len(right)), len(pairs)
        for one, other in pairs:
            yield from _walk(one, other, f"{path}[]")
    else:
        yield path, left, right


def _tables(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and all(isinstance(item, Mapping) for item in value)
    )


def _distance(path: str, left: Any, right: Any) -> float | None:
    """Return the distance of two numbers; None where either is none."""
    for value in (left, right):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
    apart = float(abs(left - right))
    # Half a turn of an ellipse is none.
    return min(apart, abs(180.0 - apart)) if path.endswith("angle_deg") else apart
