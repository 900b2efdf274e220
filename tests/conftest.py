"""Shared fixtures: real data if it is there, simulated data otherwise, bundles to spoil."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import settings
from tests.requirements import not_run

from rille.bundle import Bundle, file_entries, load_bundle
from rille.sim import Descent, Scene, build_scene

ROOT = Path(__file__).resolve().parent.parent

# How long an example takes is told by how busy the machine is, or by its being an emulator.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the requirements of `docs/requirements.csv` whose tests were skipped."""
    stats = terminalreporter.stats
    ran = [r.nodeid for kind in ("passed", "failed", "xfailed") for r in stats.get(kind, ())]
    skipped = [report.nodeid for report in stats.get("skipped", ())]
    for row in not_run([*ran, *skipped], ran):
        terminalreporter.write_line(f"requirement {row.id} NOT VERIFIED: {row.test} was skipped")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what is measured while other tests run out of the user's cache folder."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def data_root() -> Callable[[str], Path]:
    """Return a function that names a real data set, or skips the test saying why."""

    def find(name: str) -> Path:
        base = Path(os.environ.get("RILLE_DATA", ROOT / "data"))
        if not (base / name).is_dir():
            pytest.skip(f"real data not at hand: no folder {base / name} (RILLE_DATA names it)")
        return base / name

    return find


@pytest.fixture(scope="session")
def scene() -> Scene:
    return build_scene(7)


@pytest.fixture(scope="session")
def descent(scene: Scene) -> Descent:
    return Descent(scene, 7, 320, 240, 40)


@pytest.fixture(scope="session")
def craters_bundle() -> Bundle:
    return load_bundle("moon-craters")


@pytest.fixture(scope="session")
def mars_bundle() -> Bundle:
    return load_bundle("mars-msl24")


@pytest.fixture
def image_folder(tmp_path: Path, descent: Descent) -> Path:
    """Six simulated frames as PNG files."""
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(6):
        pixels, _ = descent.frame(index * 6)
        cv2.imwrite(str(folder / f"{index:03d}.png"), pixels)
    return folder


@pytest.fixture
def spoil(tmp_path: Path, mars_bundle: Bundle) -> Callable[..., Path]:
    """Return a function that writes a copy of a good bundle with something wrong in it.

    It takes a change to the manifest's table, a change to the files, and whether the digests are
    brought up to date afterwards, as someone with bad intentions would.
    """

    def write(
        manifest: Callable[[dict[str, Any]], None] | None = None,
        files: Callable[[dict[str, bytes]], None] | None = None,
        refresh: bool = False,
    ) -> Path:
        folder = tmp_path / "spoilt"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        content = dict(mars_bundle.files)
        table = json.loads(mars_bundle.manifest.to_json())
        if files is not None:
            files(content)
        if refresh:
            table["files"] = {
                name: {"bytes": entry.bytes, "sha256": entry.sha256}
                for name, entry in file_entries(content).items()
            }
        if manifest is not None:
            manifest(table)
        for name, data in content.items():
            (folder / name).write_bytes(data)
        (folder / "manifest.json").write_text(json.dumps(table))
        return folder

    return write


@pytest.fixture(scope="session")
def yolo_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A crater data set in YOLO layout, made of simulated frames, with one empty image."""
    root = tmp_path_factory.mktemp("yolo")
    (root / "data.yaml").write_text(
        "train: ../train/images\nval: valid/images\n\nnc: 1\nnames: [crater]\n"
    )
    for split, seed, count, name in (("train", 21, 8, "t"), ("valid", 22, 3, "v")):
        made = Descent(build_scene(seed), seed, 416, 416, count)
        (root / split / "images").mkdir(parents=True)
        (root / split / "labels").mkdir()
        for index in range(count):
            pixels, truth = made.frame(index)
            cv2.imwrite(str(root / split / "images" / f"{name}{index}.png"), pixels)
            lines = []
            for e in truth.craters:
                if 0 <= e.x < 416 and 0 <= e.y < 416:
                    lines.append(yolo_line(e.x, e.y, e.semi_major, 416))
            (root / split / "labels" / f"{name}{index}.txt").write_text("\n".join(lines))
        # No name and no picture of one split is in the other: that would be a leak.
        blank = np.full((416, 416), 69 + seed, np.uint8)
        bare = "empty" if split == "train" else "bare"
        cv2.imwrite(str(root / split / "images" / f"{bare}.png"), blank)
        (root / split / "labels" / f"{bare}.txt").write_text("")
    return root


def yolo_line(x: float, y: float, radius: float, side: int) -> str:
    """Return a label line for a circle, its box clipped at the image border as published."""
    left, right = max(0.0, x + 0.5 - radius), min(float(side), x + 0.5 + radius)
    top, bottom = max(0.0, y + 0.5 - radius), min(float(side), y + 0.5 + radius)
    numbers = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    return "0 " + " ".join(f"{n / side:.6f}" for n in numbers)


@pytest.fixture(scope="session")
def msl_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny data set in the layout of MSL v1: three classes that colour tells apart."""
    root = tmp_path_factory.mktemp("msl")
    (root / "calibrated").mkdir()
    (root / "msl_synset_words-indexed.txt").write_text(
        "0       apxs\n1       apxs cal target\n5       drill holes\n22      sun\n"
    )
    rng = np.random.default_rng(5)
    colours = {0: (200, 60, 40), 1: (50, 180, 70), 5: (60, 80, 210)}
    for split, count in (("train", 24), ("val", 9)):
        lines = []
        for index in range(count):
            label = list(colours)[index % 3]
            image = np.full((96, 128, 3), colours[label], np.float64)
            image += rng.normal(0, 25, image.shape)
            name = f"{len(split):04d}MR{index:06d}01_DRCL.JPG"
            pixels = np.clip(image, 0, 255).astype(np.uint8)
            cv2.imwrite(str(root / "calibrated" / name), pixels[:, :, ::-1])
            lines.append(f"calibrated/{name} {label}")
        (root / f"{split}-calibrated-shuffled.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def rille(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return a function that runs the command line in this process."""
    from rille.cli import main

    monkeypatch.setattr(sys, "argv", ["rille"])
    return lambda *words: main([str(word) for word in words])
