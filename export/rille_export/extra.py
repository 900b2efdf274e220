"""The further data sets that a network was trained on, found again by their listings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rille.datasets import Sample, open_dataset, samples_of
from rille.datasets.base import listing_digest
from rille.errors import DatasetError
from rille_export.run_folder import TrainedRun


def further_samples(
    run: TrainedRun, roots: Sequence[Path], say: Callable[[str], None]
) -> list[Sample]:
    """Return the training images of further data sets.

    Args:
        run: names them with their digests.
        roots: their folders.
        say: told of those that are not given.

    Raises:
        DatasetError: the run was not trained on what lies in a folder.
    """
    known = {entry["listing_sha256"]: entry for entry in run.provenance.get("extra", [])}
    found: list[Sample] = []
    for root in roots:
        dataset = open_dataset(root, run.contract.task)
        samples = list(samples_of(dataset, run.data.train))
        if known.pop(listing_digest(samples, dataset.root), None) is None:
            raise DatasetError(
                f"{root}: {run.contract.name} was not trained on the {len(samples)} images here "
                "(their listing is none that its run names); --extra takes what training took"
            )
        found += samples
    for entry in known.values():
        say(
            f"note: it was also trained on {entry['images']} images of {entry['dataset']}, which "
            "its out-of-distribution score will not know; --extra FOLDER gives them"
        )
    return found
