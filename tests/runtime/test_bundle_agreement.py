"""A shipped bundle answers alike whatever number of threads its engine has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rille.bundle import load_bundle, shipped_bundles
from rille.images import decode_image
from rille.network import Network
from rille.sim import Descent, Scene


def frames(name: str, scene: Scene) -> list[Any]:
    """The golden images, a descent, and noise."""
    bundle = load_bundle(name)
    descent = Descent(scene, 7, 640, 480, 40)
    noise = np.random.default_rng(4).integers(0, 256, (480, 640, 3), np.uint8)
    golden = [decode_image(bundle.files[k], k) for k in bundle.manifest.golden_images]
    return [*golden, *(descent.frame(k)[0] for k in (0, 13, 26, 39)), noise]


@pytest.mark.parametrize("name", shipped_bundles())
def test_one_two_and_four_threads_agree(name: str, scene: Scene) -> None:
    """Stored integers equal, so that every answer made of them is."""
    bundle = load_bundle(name)
    pictures = frames(name, scene)
    answers = []
    for threads in (1, 2, 4):
        network = Network.load(bundle, threads=threads)
        answers.append([network.backend.infer(network.preprocessor(p)[0]) for p in pictures])
        network.close()
    for other in answers[1:]:
        for here, there in zip(answers[0], other, strict=True):
            for role in here:
                assert here[role].dtype == np.int8
                np.testing.assert_array_equal(here[role], there[role])
