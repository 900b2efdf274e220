"""`rille sim`: data sets are whole, resumable and split by scene."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rille.cli.main import main
from rille.frame import CLASSES
from rille.sim.ground import TERRAINS
from rille.sim.likeness import compare, measure
from rille.sim.render import Plan
from rille.sim.scenario import Scenario

URI = "sim://moon?view=rover&terrain=mare&size=96x64&seed=3"


def rille(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sim") / "set"
    options = ["--frames", 6, "--scenes", 2, "--val", 1, "--workers", 2]
    assert rille("sim", "render", URI, "--out", out, *options) == 0
    return out


def coco(folder: Path, split: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{split}.json").read_text())
    return found


def test_a_data_set_is_complete(rendered: Path) -> None:
    for split in ("train", "val"):
        found = coco(rendered, split)
        assert len(found["images"]) == 3
        for image in found["images"]:
            pixels = cv2.imread(str(rendered / image["file_name"]), cv2.IMREAD_UNCHANGED)
            mask = cv2.imread(str(rendered / image["mask"]), cv2.IMREAD_UNCHANGED)
            assert pixels is not None and mask is not None
            assert pixels.shape == mask.shape == (image["height"], image["width"])
            assert mask.max() < len(CLASSES)
        numbers = {image["id"] for image in found["images"]}
        for annotation in found["annotations"]:
            assert annotation["image_id"] in numbers
            left, top, width, height = annotation["bbox"]
            assert left >= -0.5 and top >= -0.5 and width > 0 and height > 0
            assert left + width <= 96.5 and top + height <= 64.5
    assert (rendered / "contact-sheet.png").stat().st_size > 1000
    assert not list(rendered.rglob("*.partial"))


def test_no_scene_is_in_two_splits(rendered: Path) -> None:
    seeds = [{image["seed"] for image in coco(rendered, s)["images"]} for s in ("train", "val")]
    assert seeds == [{3}, {4}]


def test_an_interrupted_rendering_goes_on_to_the_same_files(rendered: Path, tmp_path: Path) -> None:
    again = tmp_path / "set"
    shutil.copytree(rendered, again)
    truths = sorted(again.rglob("truth/*/*.json"))
    # As if it had been killed: some frames have no truth yet, one image is half written.
    for path in truths[1:4]:
        path.unlink()
    lost = sorted(again.rglob("images/*/*.png"))[1]
    lost.write_bytes(lost.read_bytes()[:100])
    options = ["--frames", 6, "--scenes", 2, "--val", 1, "--workers", 1]
    assert rille("sim", "render", URI, "--out", again, *options) == 0
    for path in sorted(p for p in rendered.rglob("*") if p.is_file()):
        assert path.read_bytes() == (again / path.relative_to(rendered)).read_bytes(), path


def test_another_rendering_is_not_written_over(rendered: Path, capsys: Any) -> None:
    assert rille("sim", "render", URI, "--out", rendered, "--frames", 9, "--scenes", 3) == 2
    assert "holds another rendering" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["render", "sim://moon?view=rover&terrain=mares"], 2, "did you mean 'mare'"),
        (["render", "sim://moon?sun_elevation_deg=-5"], 2, "must be a number from 1.5"),
        (["render", URI, "--frames", "0"], 2, "need at least as many frames"),
        (["render", URI, "--val", "40"], 2, "a split is by whole scenes"),
        (["show", "sim://venus"], 3, "no world 'venus'"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, capsys: Any, words: list[str], code: int, message: str
) -> None:
    assert rille("sim", *words, "--out", tmp_path / "out") == code
    said = capsys.readouterr().err
    assert message in said and len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_full_disk_stops_it_with_one_line(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "images").write_text("in the way")
    out = tmp_path / "images" / "set"
    assert rille("sim", "render", URI, "--out", out, "--frames", 2, "--scenes", 1, "--val", 0) == 3
    assert "cannot be written" in capsys.readouterr().err


def test_show_writes_a_video_with_the_truth_beside(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "show.mp4"
    assert rille("sim", "show", f"{URI}&frames=3", "--truth", "--out", path) == 0
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    good, frame = video.read()
    video.release()
    assert good and frame.shape == (64, 192, 3)
    assert np.ptp(frame) > 50


def test_bench_says_how_fast(capsys: Any) -> None:
    assert rille("sim", "bench", f"{URI}", "--frames", 4, "--workers", 1) == 0
    said = capsys.readouterr().out
    assert "96 x 64, 1 process(es)" in said and "frames/s (n = 3" in said


def test_images_are_like_themselves(rendered: Path, capsys: Any) -> None:
    folder = rendered / "images" / "scene-0000"
    assert rille("sim", "compare", f"{URI}&hardware=0", folder, "--frames", 4) == 0
    assert "spectrum slope" in capsys.readouterr().out
    images = [np.asarray(cv2.imread(str(p), 0), np.uint8) for p in sorted(folder.glob("*.png"))]
    found = compare(images, images)
    assert all(row["distance"] == 0 for row in found.values())
    brighter = [np.asarray(255 - image, np.uint8) for image in images]
    assert compare(brighter, images)["mean"]["distance"] > 1
    assert compare(brighter, images)["histogram"]["distance"] > 0.1


def test_the_slope_of_a_spectrum_is_measured() -> None:
    """White noise has slope 0; integrating it twice along both axes makes it steep."""
    rng = np.random.default_rng(1)
    white = rng.integers(0, 256, (256, 256)).astype(np.uint8)
    assert measure(white)["spectrum slope"] == pytest.approx(0.0, abs=0.15)
    k = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None, :])
    k[0, 0] = 1.0
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((256, 256))) * k**-1.2)
    steep = np.clip(128 + 40 * noise / noise.std(), 0, 255).astype(np.uint8)
    assert measure(steep)["spectrum slope"] == pytest.approx(-2.4, abs=0.3)


def test_varied_scenes_differ_and_come_back_the_same() -> None:
    """Terrain, Sun, lens and hardware are drawn for each scene from the seed alone."""
    plan = Plan(
        scenario=Scenario(view="rover"), scenes=24, frames=24, every=1, validation=4, vary=True
    )
    scenes = [plan.scene(number) for number in range(24)]
    assert scenes == [plan.scene(number) for number in range(24)]
    assert {s.terrain for s in scenes} == set(TERRAINS["moon"])
    for seen in ("hardware", "tracks", "lander"):
        assert {getattr(s, seen) for s in scenes} == {True, False}
    elevations = [s.sun_elevation_deg for s in scenes]
    assert min(elevations) >= 3 and max(elevations) <= 45 and len(set(elevations)) == 24
    assert all(s.seed == plan.scenario.seed + n for n, s in enumerate(scenes))
