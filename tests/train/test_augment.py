"""Augmentation: identity is identity, truth moves with the pixels, chance is reproducible."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rille.ellipse import Ellipse, draw_ellipses
from rille.preprocess import Preprocessor, parse_ops
from rille.tensor import TensorSpec
from rille_train.augment import cut_window, tone, warp_photo
from rille_train.recipe import AugmentRecipe

OFF = AugmentRecipe(window_px=64)


def photo(height: int = 90, width: int = 120) -> Any:
    import cv2

    noise = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


def test_with_everything_off_training_sees_what_flies() -> None:
    """The un-augmented training image and the flown one differ by at most one grey level."""
    image = photo()
    ops = parse_ops(
        [{"op": "rgb"}, {"op": "resize", "width": 96, "height": 96}, {"op": "normalize"}]
    )
    flown, _ = Preprocessor(ops, TensorSpec(shape=(1, 96, 96, 3))).fit(image)
    rng = np.random.default_rng(0)
    trained = tone(warp_photo(image, 96, 96, OFF, rng), OFF, rng)
    inner = (slice(2, -2), slice(2, -2))  # the border is reflected there, repeated here
    gap = np.abs(flown.astype(int) - trained.astype(int))[inner]
    assert gap.max() <= 1


def test_augmentation_really_changes_the_picture() -> None:
    how = AugmentRecipe(crop=0.5, rotate_deg=10, flip=True, brightness=0.2, noise=5, erase=1.0)
    rng = np.random.default_rng(3)
    one, two = (tone(warp_photo(photo(), 64, 64, how, rng), how, rng) for _ in range(2))
    assert np.abs(one.astype(int) - two.astype(int)).mean() > 5


def test_tone_never_wraps_around() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (8, 1))
    how = AugmentRecipe(brightness=0.4, contrast=0.5, gamma=0.5)
    for seed in range(30):
        changed = tone(ramp, how, np.random.default_rng(seed)).astype(int)
        assert (np.diff(changed, axis=1) >= 0).all()


def test_grey_images_stay_grey() -> None:
    how = AugmentRecipe(brightness=0.2, noise=3, blur_px=1, erase=1.0, gray=1.0)
    assert tone(photo()[:, :, 0].copy(), how, np.random.default_rng(2)).ndim == 2


@pytest.mark.parametrize("zoom", [0.0, 0.3])
def test_craters_move_with_their_pixels(zoom: float) -> None:
    """Bright discs are where the cut window says the craters are, mirrored or not."""
    how = AugmentRecipe(flip=True, flip_vertical=True, window_px=96, zoom=zoom)
    craters = [Ellipse(60, 50, 12, 8, 0.0), Ellipse(120, 110, 9, 6, 90.0), Ellipse(30, 130, 7, 7)]
    tile = np.zeros((160, 160), np.uint8)
    draw_ellipses(tile, craters, 255)
    seen = set()
    for seed in range(40):
        window, inside, mirrored = cut_window(tile, craters, how, np.random.default_rng(seed))
        seen.add(mirrored)
        assert window.shape == (96, 96)
        drawn = np.zeros_like(window)
        draw_ellipses(drawn, inside, 255)
        differ = np.count_nonzero((drawn > 127) != (window > 127))
        assert differ <= (90 if zoom else 4)
    assert seen == {True, False}


def test_mirroring_is_reported_truly() -> None:
    ramp = np.tile(np.arange(160, dtype=np.uint8), (160, 1))
    how = AugmentRecipe(flip=True, window_px=96)
    for seed in range(20):
        window, _, mirrored = cut_window(ramp, [], how, np.random.default_rng(seed))
        assert (window[0, 0] > window[0, -1]) == mirrored
