"""Reading what a training run left behind; see `rille train`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rille.bundle.manifest import Contract
from rille.errors import BundleError
from rille.schema import build, read_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Splits:
    """Names of the splits a network was trained and validated on."""

    train: str
    validation: str

    @property
    def seen(self) -> bool:
        """Whether the validation split was trained on, in part or as a whole."""
        return not set(self.train.split("+")).isdisjoint(self.validation.split("+"))


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedRun:
    """The content of `contract.json`.

    Attributes:
        contract: what the network is for and how to use it.
        data: the splits.
        provenance: recipe, data digest, versions.
    """

    contract: Contract
    data: Splits
    provenance: dict[str, Any]


def read_run(folder: Path) -> TrainedRun:
    """Read and check `contract.json` of a run folder.

    Raises:
        BundleError: the folder is not that of a finished run.
    """
    path = folder / "contract.json"
    if not path.is_file() or not (folder / "model.keras").is_file():
        raise BundleError(
            f"{folder}: not a finished training run (needs model.keras and contract.json); "
            "finish it with: rille train"
        )
    return build(TrainedRun, read_json(path, BundleError), str(path), BundleError)
