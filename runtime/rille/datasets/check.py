"""Whether a data set can be trained on and scored with: what it holds, and what is wrong."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.datasets.balance import balance, is_mask, uneven
from rille.datasets.base import IGNORED, Dataset, MaskSample, Remarks, Sample
from rille.errors import DatasetError, SourceError
from rille.images import decode_image, read_encoded, read_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a data set that its user should know.

    Attributes:
        what: a sentence.
        names: the files, groups or classes concerned.
    """

    what: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What `check` found.

    Attributes:
        dataset, task: names of the data set and of what its labels are for.
        classes: how many there are.
        splits: for each, by name: "images", "also" (its other names), "keys" (how many different
            ones of each kind), "sizes", "modes", "balance" (see `rille.datasets.balance`).
        uneven: the classes whose share in val is more than 20 % off that in train, relatively.
        troubles: leaks between splits and files that cannot be used. With any, scores are worth
            little or training will stop.
        notes: what should be known but stops nothing.
    """

    dataset: str
    task: str
    classes: int
    splits: dict[str, dict[str, Any]]
    uneven: list[str]
    troubles: list[Finding]
    notes: list[Finding]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What reading one image and its mask told."""

    size: tuple[int, int]
    mode: str = ""
    sha256: str = ""
    pixels: tuple[int, ...] = ()


def check(
    dataset: Dataset, *, fast: bool = False, progress: Progress = lambda done, total: None
) -> Report:
    """Look at every split of a data set.

    Args:
        dataset: the data set.
        fast: read the headers of the images only: files are neither decoded nor compared, and
            masks are not counted.
        progress: called with the number of images read and in all.

    Raises:
        DatasetError: a list or label that cannot be understood; damaged images are reported.
    """
    splits, other_names = _distinct(dataset)
    seen, damaged = _look_at_all(splits, fast, progress)
    facts = {
        name: {"images": len(samples), "also": other_names[name]}
        | _describe(dataset, samples, seen)
        for name, samples in splits.items()
    }
    unusable = _finding("file", "unusable", damaged)
    unusable += _finding("split", "without an image", [k for k, v in splits.items() if not v])
    between, within = _copies(dataset, splits, seen)
    leaks = [leak for pair in combinations(splits, 2) for leak in _shared(dataset, splits, *pair)]
    notes = [*within, *_listed_twice(dataset, splits), *_contradictions(dataset, splits)]
    notes += _empty_classes(dataset, facts)
    if isinstance(dataset, Remarks):
        notes += [Finding(text) for text in dataset.remarks(splits)]
    return Report(
        dataset=dataset.name,
        task=dataset.task,
        classes=len(dataset.labels),
        splits=facts,
        uneven=_unlike(facts),
        troubles=unusable + leaks + between,
        notes=notes,
    )


def leaks_between(train: Sequence[Sample], val: Sequence[Sample]) -> list[str]:
    """Return a sentence for each group and each file that two splits share; empty if none.

    Cheap enough to ask before each training: only files of equal size are read.

    Args:
        train, val: the samples of the two splits.
    """
    here = {s.group: s.path for s in train}
    there = {s.group: s.path for s in val}
    leaks = [
        f"group {group!r} is in both splits: {here[group].name} and {there[group].name}"
        for group in sorted(here.keys() & there.keys())
    ]
    sizes = _by_size(train), _by_size(val)
    for size in sorted(sizes[0].keys() & sizes[1].keys()):
        digests = {_sha256(path): path for path in sizes[0][size]}
        leaks += [
            f"{digests[digest].name} and {path.name} are the same picture, byte for byte"
            for path in sizes[1][size]
            if (digest := _sha256(path)) in digests
        ]
    return leaks


def _by_size(samples: Sequence[Sample]) -> dict[int, list[Path]]:
    sizes: dict[int, list[Path]] = defaultdict(list)
    for path in dict.fromkeys(s.path for s in samples):
        sizes[path.stat().st_size].append(path)
    return sizes


def _sha256(path: Path) -> str:
    return hashlib.sha256(read_encoded(path)).hexdigest()


def _distinct(dataset: Dataset) -> tuple[dict[str, Sequence[Sample]], dict[str, list[str]]]:
    """Return each split once, and the further names under which it can be asked for."""
    splits: dict[str, Sequence[Sample]] = {}
    names: dict[str, list[str]] = {}
    order = ("train", "val", "valid", "test")
    known = sorted(dataset.splits(), key=lambda n: order.index(n) if n in order else len(order))
    for name in known:
        samples = dataset.samples(name)
        paths = [s.path for s in samples]
        same = next((k for k, v in splits.items() if [s.path for s in v] == paths), None)
        if same is None or not paths:
            splits[name], names[name] = samples, []
        else:
            names[same].append(name)
    if not splits:
        raise DatasetError(f"{dataset.root}: holds no split; one needs a list or folder of images")
    return splits, names


def _look_at_all(
    splits: Mapping[str, Sequence[Sample]], fast: bool, progress: Progress
) -> tuple[dict[Path, _Seen], list[str]]:
    """Read every image once; return what was seen, and a sentence on each that is unusable."""
    every = {s.path: s for samples in splits.values() for s in samples}
    seen: dict[Path, _Seen] = {}
    damaged: list[str] = []
    for done, (path, sample) in enumerate(every.items(), 1):
        try:
            seen[path] = _Seen(read_size(path)) if fast else _look(sample)
        except SourceError as wrong:
            damaged.append(str(wrong))
        progress(done, len(every))
    return seen, damaged


def _look(sample: Sample) -> _Seen:
    data = read_encoded(sample.path)
    image = decode_image(data, str(sample.path))
    size = image.shape[1], image.shape[0]
    pixels: tuple[int, ...] = ()
    if is_mask(sample):
        pixels = _count(sample, size)  # type: ignore[arg-type]  # the only kind left
    return _Seen(size, _mode(image), hashlib.sha256(data).hexdigest(), pixels)


def _mode(image: NDArray[np.uint8]) -> str:
    if image.ndim == 2:
        return "grey"
    same = np.array_equal(image[..., 0], image[..., 1])
    same = same and np.array_equal(image[..., 1], image[..., 2])
    return "grey stored as colour" if same else "colour"


def _count(sample: MaskSample, size: tuple[int, int]) -> tuple[int, ...]:
    mask = sample.mask()
    if mask.shape[::-1] != size:
        stated, actual = (f"{w} x {h}" for w, h in (mask.shape[::-1], size))
        raise DatasetError(f"{sample.path}: its mask is {stated} pixels, the image {actual}")
    return tuple(np.bincount(mask.ravel(), minlength=IGNORED + 1).tolist())


def _describe(
    dataset: Dataset, samples: Sequence[Sample], seen: Mapping[Path, _Seen]
) -> dict[str, Any]:
    """Return keys, sizes, modes and balance of one split."""
    here = [seen[s.path] for s in samples if s.path in seen]
    keys: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        for kind, key in dataset.keys(sample).items():
            keys[kind].add(key)
    sizes = Counter(s.size for s in here).most_common()
    return {
        "keys": {kind: len(values) for kind, values in keys.items()},
        "sizes": [{"width": w, "height": h, "images": n} for (w, h), n in sizes],
        "modes": dict(Counter(s.mode for s in here if s.mode).most_common()),
        "balance": balance(
            samples,
            dataset.labels,
            {path: found.size for path, found in seen.items()},
            {path: found.pixels for path, found in seen.items() if found.pixels},
        ),
    }


def _shared(
    dataset: Dataset, splits: Mapping[str, Sequence[Sample]], first: str, second: str
) -> list[Finding]:
    """Return a trouble for each kind of key with values that occur in both splits."""
    keys = [
        [(kind, key) for s in splits[name] for kind, key in dataset.keys(s).items()]
        for name in (first, second)
    ]
    found: list[Finding] = []
    for kind in dict.fromkeys(kind for kind, _ in keys[0]):
        here = {key for k, key in keys[0] if k == kind}
        hits = [key for k, key in keys[1] if k == kind and key in here]
        names = sorted(set(hits))
        part = f"{len(hits)} of the {len(splits[second])} images of {second}"
        found += _finding(kind, f"in both {first} and {second}: {part}", names)
    return found


def _copies(
    dataset: Dataset, splits: Mapping[str, Sequence[Sample]], seen: Mapping[Path, _Seen]
) -> tuple[list[Finding], list[Finding]]:
    """Return files that are identical, or listed, in two splits, and those identical in one."""
    places: dict[str, dict[tuple[str, Path], None]] = defaultdict(dict)
    for split, samples in splits.items():
        for sample in samples:
            if sample.path in seen:
                digest = seen[sample.path].sha256 or str(sample.path)
                places[digest][split, sample.path] = None
    between: list[str] = []
    within: list[str] = []
    for found in places.values():
        if len(found) > 1:
            named = " = ".join(f"{s}: {path.relative_to(dataset.root)}" for s, path in found)
            (between if len({s for s, _ in found}) > 1 else within).append(named)
    return (
        _finding("picture", "in more than one split, byte for byte", between),
        _finding("picture", "stored more than once in one split", within),
    )


def _listed_twice(dataset: Dataset, splits: Mapping[str, Sequence[Sample]]) -> Iterable[Finding]:
    """Yield the images that one split lists more than once."""
    for split, samples in splits.items():
        counts = Counter(str(s.path.relative_to(dataset.root)) for s in samples)
        names = [name for name, count in counts.items() if count > 1]
        yield from _finding("image", f"listed more than once in {split}", names)


def _contradictions(dataset: Dataset, splits: Mapping[str, Sequence[Sample]]) -> Iterable[Finding]:
    """Yield images that are listed twice, and versions of one picture, with different labels."""
    listed: dict[str, set[str]] = defaultdict(set)
    originals: dict[str, set[str]] = defaultdict(set)
    for samples in splits.values():
        for sample in samples:
            listed[str(sample.path.relative_to(dataset.root))].add(sample.label)
            original = dataset.keys(sample).get("original")
            if original is not None and dataset.task == "classification":
                originals[original].add(sample.label)
    for what, found in (("image", listed), ("original", originals)):
        names = sorted(name for name, labels in found.items() if len(labels) > 1)
        yield from _finding(what, "with different labels", names)


def _empty_classes(dataset: Dataset, facts: Mapping[str, dict[str, Any]]) -> Iterable[Finding]:
    """Yield the classes that every split lacks, then those that one split lacks."""
    lacking = {
        name: [row["name"] for row in split["balance"]["classes"] if row["count"] == 0]
        for name, split in facts.items()
    }
    nowhere = [k.name for k in dataset.labels if all(k.name in names for names in lacking.values())]
    yield from _finding("class", "without an image", nowhere)
    for split, names in lacking.items():
        rest = [name for name in names if name not in nowhere]
        yield from _finding("class", f"missing from {split}", rest)


def _unlike(facts: Mapping[str, dict[str, Any]]) -> list[str]:
    """Return the classes whose share in val is far from that in train."""
    if not {"train", "val"} <= facts.keys():
        return []
    return uneven(facts["train"]["balance"], facts["val"]["balance"])


def _finding(one: str, what: str, names: Sequence[str]) -> list[Finding]:
    """Return a finding about so many things, or none about no thing."""
    return [Finding(f"{many(len(names), one)} {what}", tuple(names))] if names else []


def many(count: int, one: str) -> str:
    """Return a number with its noun, in the singular for one."""
    ending = "" if count == 1 else "es" if one.endswith("s") else "s"
    return f"{count} {one}{ending}"
