"""What the networks answer to the bench's pictures, worked out on the bench."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from rille.bundle import load_bundle
from rille.errors import BundleError
from rille.hil.observed import Answer
from rille.hil.pictures import pictures_of
from rille.network import Network
from rille.result import Classification

if TYPE_CHECKING:
    from rille.hil.scenario import Scenario


def answers_of(scenario: Scenario) -> tuple[Answer, ...]:
    """Return label and probability for each picture of a scenario; none where nothing classifies.

    A bundle that cannot be loaded is what the scenario is about; nothing is said for it.
    """
    for name in scenario.bundles:
        try:
            return _answers(scenario.source, name)
        except BundleError:
            continue
    return ()


@functools.lru_cache(maxsize=8)
def _answers(source: str, bundle: str) -> tuple[Answer, ...]:
    network = Network.load(load_bundle(bundle))
    try:
        found = [network.run(picture)[0] for picture in pictures_of(source)]
    finally:
        network.close()
    names = [entry.name for entry in network.contract.labels]
    return tuple(
        Answer(
            answer.label,
            round(answer.probability, 4),
            dict(zip(names, answer.probabilities.tolist(), strict=True)),
        )
        for answer in found
        if isinstance(answer, Classification)
    )
