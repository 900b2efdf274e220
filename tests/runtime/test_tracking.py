"""Features followed between segmentations, against motions that are known exactly."""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
import pytest
from scripted import network

from rille.budget import Budget
from rille.ellipse import Ellipse, polygon_iou
from rille.frame import Frame
from rille.pipeline import Pipeline
from rille.result import Feature
from rille.sim import Descent, Scene
from rille.tracking import FeatureTracker

STONES = tuple(
    Feature("stone", Ellipse(x, y, 24.0, 14.0, angle), 0.9)
    for x, y, angle in ((200.0, 150.0, 20.0), (420.0, 320.0, 100.0), (330.0, 240.0, 0.0))
)


@pytest.fixture(scope="module")
def ground(scene: Scene) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A piece of simulated ground, larger than a frame."""
    return Descent(scene, 7, 900, 700, 4).frame(0)[0]


def seen(ground: Any, motion: Any) -> Any:
    return cv2.warpPerspective(ground, motion, (640, 480), flags=cv2.INTER_LINEAR)


def moved(ellipse: Ellipse, motion: Any) -> Any:
    """Return an ellipse's outline after a motion, point by point."""
    points = ellipse.polygon().reshape(-1, 1, 2)
    return cv2.perspectiveTransform(points, motion).reshape(-1, 2).astype(np.float32)


START = np.array([[1.0, 0.0, -120.0], [0.0, 1.0, -110.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    "step",
    [
        np.array([[1.0, 0.0, 4.0], [0.0, 1.0, -3.0], [0.0, 0.0, 1.0]]),
        np.array([[1.02, -0.02, -4.0], [0.02, 1.02, -8.0], [0.0, 0.0, 1.0]]),
        np.array([[1.0, 0.01, -5.0], [0.0, 1.02, -9.0], [0.0, 8e-5, 0.98]]),
    ],
    ids=["shifted", "zoomed and turned", "tilted"],
)
def test_ellipses_move_with_the_picture(ground: Any, step: Any) -> None:
    tracker = FeatureTracker()
    tracker.found(seen(ground, START), STONES, 0)
    so_far = np.eye(3)
    for k in range(1, 6):
        so_far = step @ so_far
        tracked = tracker.follow(seen(ground, so_far @ START), k * 100_000_000)
        assert tracked is not None and tracked.age_frames == k
        assert tracked.age_ms == pytest.approx(100.0 * k)
        for before, now in zip(STONES, tracked.features, strict=True):
            assert polygon_iou(moved(before.ellipse, so_far), now.ellipse.polygon()) > 0.85
            assert (now.label, now.score) == (before.label, before.score)


def test_what_leaves_the_picture_is_let_go(ground: Any) -> None:
    tracker = FeatureTracker()
    edge = (Feature("stone", Ellipse(630.0, 240.0, 20.0, 20.0), 0.9), STONES[0])
    tracker.found(seen(ground, START), edge, 0)
    shift = np.array([[1.0, 0.0, 15.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    tracked = tracker.follow(seen(ground, shift @ START), 1)
    assert tracked is not None and [f.ellipse.x for f in tracked.features] == [
        pytest.approx(215.0, abs=1.0)
    ]


def test_another_view_another_size_or_too_long_a_time_give_up(ground: Any) -> None:
    tracker = FeatureTracker()
    first = seen(ground, START)
    noise = np.random.default_rng(1).integers(0, 255, first.shape, np.uint8)
    assert tracker.follow(first, 0) is None  # nothing was found yet
    for other, late in (
        (noise, 1),
        (first[:300], 1),
        (np.full_like(first, 90), 1),
        (first, 4_000_000_000),
    ):
        tracker.found(first, STONES, 0)
        assert tracker.follow(other, late) is None
        assert tracker.follow(first, late) is None  # and for good


def test_a_shed_segmentation_still_yields_features_marked_as_tracked(ground: Any) -> None:
    segment = network("segmentation", [1.0, 1.0])
    pipeline = Pipeline(
        classify=network("classification", [0.0]),
        segment=segment,
        budget=Budget(frame_ms=60_000, track=True),
        strain=lambda: "hot",
    )
    picture = seen(ground, START)
    found = [
        pipeline.run(Frame(pixels=picture, index=k, captured_ns=time.monotonic_ns()))
        for k in range(4)
    ]
    assert [r.segmentation is not None for r in found] == [False, True, False, True]
    assert found[0].tracked is None
    tracked = found[2].tracked
    assert tracked is not None and tracked.age_frames == 1
    assert found[2].to_json()["tracked"]["age_frames"] == 1
    assert found[1].tracked is None and found[3].tracked is None
