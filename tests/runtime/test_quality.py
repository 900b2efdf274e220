"""What is wrong with a picture is said with its result."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from rille.bundle import Bundle
from rille.images import list_images, read_image
from rille.pipeline import Pipeline
from rille.quality import FLAGS, QualityCheck
from rille.sim import Descent
from rille.sources import open_source


def noisy(
    level: float, deviation: float, seed: int = 1
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    values = np.random.default_rng(seed).normal(level, deviation, (240, 320))
    return np.clip(values, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("pixels", "flags"),
    [
        (noisy(120, 30), ()),
        (noisy(6, 4), ("dark",)),
        (noisy(254, 20), ("saturated",)),
        (np.full((240, 320), 128, np.uint8), ("flat",)),
        (np.zeros((240, 320, 3), np.uint8), ("dark", "flat")),
        (np.full((480, 640, 3), 255, np.uint8), ("saturated", "flat")),
        (np.tile(np.linspace(20, 220, 320, dtype=np.uint8), (240, 1)), ("blurred",)),
    ],
)
def test_flags(
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], flags: tuple[str, ...]
) -> None:
    assert QualityCheck()(pixels) == flags
    assert set(flags) <= set(FLAGS)


def test_the_same_picture_twice_is_frozen_and_noise_is_not() -> None:
    check = QualityCheck()
    assert check(noisy(120, 30)) == ()
    assert check(noisy(120, 30)) == ("frozen",)
    assert check(noisy(120, 30, seed=2)) == ()


def test_blur_is_told_by_what_the_camera_gave_before(descent: Descent) -> None:
    check = QualityCheck()
    for k in range(20):
        assert "blurred" not in check(descent.frame(k)[0])
    soft = cv2.GaussianBlur(descent.frame(20)[0], (0, 0), 3.0)
    assert "blurred" in check(np.asarray(soft, np.uint8))
    assert "blurred" not in check(descent.frame(21)[0])


def test_it_is_quick() -> None:
    check, pixels = (
        QualityCheck(),
        np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8),
    )
    spent = []
    for _ in range(50):
        start = time.perf_counter_ns()
        check(pixels)
        spent.append((time.perf_counter_ns() - start) / 1e6)
    assert np.median(spent) < 5.0  # a tenth of that on an idle machine


def test_a_run_reports_them(
    rille: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for k, level in enumerate((120, 5, 5)):
        cv2.imwrite(str(folder / f"{k}.png"), noisy(level, 3 if level == 5 else 30))
    assert rille("run", "--source", f"images://{folder}", "--out", tmp_path / "out") == 0
    assert "quality: dark 2, frozen 1" in capsys.readouterr().out
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert '"quality":["dark","frozen"]' in [line for line in lines if '"frame"' in line][2]


def test_a_new_stream_starts_afresh(image_folder: Path, mars_bundle: Bundle) -> None:
    with Pipeline(classify=mars_bundle) as pipeline:
        for _ in range(2):
            with open_source(f"images://{image_folder}?limit=1") as source:
                (result,) = pipeline.stream(source)
            assert result.quality == ()


@pytest.mark.data
def test_real_images_are_hardly_ever_flagged(data_root: Callable[[str], Path]) -> None:
    flagged = total = 0
    for name in ("msl_v1/calibrated", "lunar_craters/valid/images", "change_lunar/valid"):
        root, _, rest = name.partition("/")
        for path in list_images(data_root(root) / rest)[::12]:
            total += 1
            flagged += bool(QualityCheck()(read_image(path)))
    assert total > 300 and flagged <= 0.01 * total
