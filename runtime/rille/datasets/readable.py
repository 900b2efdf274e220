"""Damaged images of a data set: listed, and left out only when that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rille.datasets.base import Dataset, Sample, samples_of
from rille.errors import DatasetError, SourceError
from rille.images import read_image

_SHOWN = 5


class WithoutDamaged:
    """A data set less some of its images; see `rille.datasets.Dataset`.

    Args:
        whole: the data set.
        damaged: image files that it shall not have.
    """

    def __init__(self, whole: Dataset, damaged: Iterable[Path]) -> None:
        self._whole, self._damaged = whole, frozenset(damaged)
        self.name, self.root = whole.name, whole.root
        self.task, self.labels = whole.task, whole.labels

    def splits(self) -> list[str]:
        """Return the splits of the whole."""
        return self._whole.splits()

    def samples(self, split: str) -> Sequence[Sample]:
        """Return those of the whole whose image is not among the damaged."""
        return [s for s in self._whole.samples(split) if s.path not in self._damaged]

    def keys(self, sample: Sample) -> Mapping[str, str]:
        """Return what ties a sample to others."""
        return self._whole.keys(sample)


def readable(dataset: Dataset, splits: str, *, skip: bool) -> tuple[Dataset, list[str]]:
    """Decode every image of some splits once, before anything is built on them.

    Args:
        dataset: the data set.
        splits: one split, or several joined by "+".
        skip: leave out what cannot be read.

    Returns:
        The data set, or what is left of it, and a sentence on each damaged image.

    Raises:
        DatasetError: images are damaged and shall not be skipped, or none is left.
    """
    damaged: dict[Path, str] = {}
    samples = {sample.path: sample for sample in samples_of(dataset, splits)}
    for path in samples:
        try:
            read_image(path)
        except SourceError as wrong:
            damaged[path] = str(wrong)
    if not damaged:
        return dataset, []
    reasons = list(damaged.values())
    more = f"; and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    listed = f"{'; '.join(reasons[:_SHOWN])}{more}"
    if len(damaged) == len(samples):
        raise DatasetError(f"{dataset.root}: no image of {splits} can be read: {listed}")
    if not skip:
        raise DatasetError(
            f"{dataset.root}: {len(damaged)} of {len(samples)} images cannot be read: {listed}. "
            "Mend or remove them, or leave them out with --skip-unreadable"
        )
    return WithoutDamaged(dataset, damaged), reasons
