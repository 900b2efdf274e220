"""A shipped bundle answers alike whatever number of threads, and whatever OpenCV, there is."""

from __future__ import annotations

from contextlib import closing
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


class RoundsOtherwise:
    """Stands in for OpenCV's CLAHE on a processor that rounds otherwise: one pixel in nine."""

    def __init__(self, clip_limit: float, tiles: tuple[int, int]) -> None:
        pass

    def apply(self, image: Any) -> Any:
        return spoiled(image)


def spoiled(image: Any, *arguments: Any, **options: Any) -> Any:
    """Stands in for OpenCV's resizing on such a processor."""
    image = image.copy()
    image[::3, ::3] ^= 2
    return image


@pytest.mark.parametrize("name", shipped_bundles())
def test_inputs_and_golden_answers_hold_where_opencv_rounds_otherwise(
    name: str, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does on ARM: what a network is shown there is what it was validated on here."""
    bundle = load_bundle(name)
    pictures = frames(name, scene)
    with closing(Network.load(bundle)) as network:
        here = [network.preprocessor(p)[0].copy() for p in pictures]
    monkeypatch.setattr("cv2.createCLAHE", RoundsOtherwise)
    monkeypatch.setattr("cv2.resize", spoiled)
    with closing(Network.load(bundle)) as network:
        assert network.golden_count and network.self_test() == 0.0
        for picture, expected in zip(pictures, here, strict=True):
            np.testing.assert_array_equal(network.preprocessor(picture)[0], expected)
