"""Which network may stand in which stage of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping

from rille.bundle import Bundle
from rille.errors import ConfigError
from rille.network import Network

_TASKS = {
    "classify": ("classification", "multilabel"),
    "segment": ("segmentation",),
    "lighter": ("segmentation",),
}


def check_tasks(given: Mapping[str, Bundle | Network | None]) -> None:
    """Refuse networks that do not do what their stage is for.

    Args:
        given: stage -> bundle or network.

    Raises:
        ConfigError: there is none; one does another task; or the lighter network has other labels
            than the one in whose place it works.
    """
    if not any(source is not None for source in given.values()):
        raise ConfigError("a pipeline needs a bundle to classify or to segment with, or both")
    contracts = {
        name: source.manifest if isinstance(source, Bundle) else source.contract
        for name, source in given.items()
        if source is not None
    }
    for name, contract in contracts.items():
        if contract.task not in _TASKS[name]:
            raise ConfigError(
                f"{name}: bundle {contract.name} does {contract.task}, not {_TASKS[name][0]}"
            )
    if "lighter" not in contracts:
        return
    if "segment" not in contracts:
        raise ConfigError("lighter: needs a bundle to segment with, in whose place it works")
    heavy, light = contracts["segment"].label_names, contracts["lighter"].label_names
    if heavy != light:
        raise ConfigError(f"lighter: has the labels {light}, segment has {heavy}")
