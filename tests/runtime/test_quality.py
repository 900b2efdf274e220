"""What is wrong with a picture is said with its result."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rille.bundle import Bundle, load_bundle, shipped_bundles
from rille.errors import InferenceError
from rille.images import list_images, read_image
from rille.network import Network
from rille.occlusion import Occlusion
from rille.pipeline import Pipeline
from rille.postprocess import OutputGuard
from rille.preprocess import Views
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


def test_every_pixel_counts_where_the_picture_is_halved() -> None:
    check, before = (
        QualityCheck(),
        np.random.default_rng(0).integers(0, 200, (480, 640, 3), np.uint8),
    )
    after = before.copy()
    after[101, 201, 1] += 8  # neither in an even row nor in an even column
    assert [check(pixels) for pixels in (before, after, after)] == [(), (), ("frozen",)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(480, 640, 3), (480, 640), (960, 1280, 3), (97, 131, 3)])
def test_views_that_networks_share_give_the_same_answers(
    shape: tuple[int, ...], channels: int
) -> None:
    alone, sharing, views = QualityCheck(channels), QualityCheck(channels), Views()
    for level, deviation in ((120, 30), (6, 2), (120, 1), (252, 2)):
        values = np.random.default_rng(level).normal(level, deviation, shape)
        pixels = np.clip(values, 0, 255).astype(np.uint8)
        views.show(pixels).at(3 if len(shape) == 3 else 1, 1)  # what a network may have done
        assert alone(pixels) == sharing(views)
        again = alone(pixels)
        assert "frozen" in again and sharing(views.show(pixels.copy())) == again


def test_blur_is_told_by_what_the_camera_gave_before(descent: Descent) -> None:
    check = QualityCheck()
    for k in range(20):
        assert "blurred" not in check(descent.frame(k)[0])
    soft = cv2.GaussianBlur(descent.frame(20)[0], (0, 0), 3.0)
    assert "blurred" in check(np.asarray(soft, np.uint8))
    assert "blurred" not in check(descent.frame(21)[0])


def covered(pixels: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Return a frame seen through a smear on the lens: out of focus, and a little of the scene."""
    height, width = pixels.shape[:2]
    y, x = np.mgrid[:height, :width]
    away = np.hypot(x - 0.65 * width, y - 0.6 * height) / (0.22 * height)
    share = np.clip(4 * (1 - away), 0, 1).astype(np.float32)
    behind = cv2.GaussianBlur(pixels, (0, 0), 0.1 * height).astype(np.float32)
    noise = np.random.default_rng(seed).normal(0, 1.2, pixels.shape)
    seen = pixels * (1 - share) + (0.15 * behind + 100 + noise) * share
    return np.asarray(np.clip(seen, 0, 255), np.uint8)


def test_a_smear_on_the_lens_is_noticed_after_a_while_and_nothing_without_one() -> None:
    with open_source("sim://moon?size=160x120&frames=200&realtime=0&fps=5") as source:
        frames = [frame.pixels for frame in source]
    clean, smeared = Occlusion(), Occlusion(frames=60)
    assert not any(clean(pixels) for pixels in frames)
    seen = [smeared(p if k < 60 else covered(p, k)) for k, p in enumerate(frames)]
    first = seen.index(True)
    assert 120 <= first < 190 and all(seen[first:])


def test_a_camera_that_stands_still_is_not_covered(descent: Descent) -> None:
    check, pixels = Occlusion(frames=10), descent.frame(0)[0]
    for k in range(60):
        noise = np.random.default_rng(k).normal(0, 2, pixels.shape)
        assert not check(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def test_a_camera_whose_clock_goes_back_is_out_of_order() -> None:
    check = QualityCheck()
    stamps = (None, 10, 20, 20, 15, 16, None, 5, 6)
    flagged = [check(noisy(120, 30, seed=k), stamp) for k, stamp in enumerate(stamps)]
    late = ("out-of-order",)
    assert flagged == [(), (), (), late, late, (), (), (), ()]


def outputs(value: int, *, spread: int = 20) -> dict[str, NDArray[np.int8]]:
    noise = np.random.default_rng(value).integers(0, spread + 1, (1, 8, 8, 1))
    return {"mask": (noise + value).astype(np.int8), "centre": (noise - value).astype(np.int8)}


def test_a_picture_of_another_size_is_told() -> None:
    check = QualityCheck()
    large, small = noisy(120, 30), noisy(120, 30)[:100]
    assert [check(picture) for picture in (large, small, large)] == [(), ("resized",), ()]


def test_one_number_everywhere_is_no_answer() -> None:
    guard = OutputGuard()
    guard(outputs(1), noisy(100, 30))
    guard({**outputs(1), "mask": np.full((1, 8, 8, 1), -128, np.int8)}, noisy(100, 30))
    with pytest.raises(InferenceError, match="same number everywhere"):
        guard(outputs(1, spread=0), noisy(100, 30))
    with pytest.raises(InferenceError, match="same number everywhere"):
        guard({"logits": np.zeros((1, 24), np.float32)}, noisy(100, 30))
    guard(outputs(2), noisy(100, 30))


def test_a_network_that_says_the_same_to_everything_is_stuck() -> None:
    guard = OutputGuard(limit=5)
    pictures = [np.roll(descending(), 20 * k, axis=1) for k in range(12)]
    for picture in pictures[:5]:
        guard(outputs(1), picture)
    for picture in pictures[5:8]:
        with pytest.raises(InferenceError, match=r"the same output for \d different pictures"):
            guard(outputs(1), picture)
    guard(outputs(2), pictures[8])
    guard(outputs(2), pictures[9])


def test_a_still_scene_may_give_the_same_answer_for_ever() -> None:
    guard = OutputGuard(limit=3)
    for k in range(30):
        guard(outputs(1), noisy(120, 5, seed=k))


def descending() -> NDArray[np.uint8]:
    return np.tile(np.linspace(20, 220, 320, dtype=np.uint8), (240, 1))


@pytest.mark.parametrize("name", shipped_bundles())
def test_no_shipped_network_is_taken_for_stuck(name: str) -> None:
    pictures: list[NDArray[np.uint8]] = [np.full((240, 320, 3), v, np.uint8) for v in (0, 255)]
    pictures += [noisy(level, spread) for level in (5, 120) for spread in (2, 40)]
    network, guard = Network.load(load_bundle(name)), OutputGuard(limit=3)
    for picture in pictures:
        tensor, _ = network.preprocessor(picture)
        guard(network.backend.infer(tensor), picture)
    network.close()


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
    assert '"quality":["dark","frozen"]' in [line for line in lines if '"event"' not in line][2]


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
