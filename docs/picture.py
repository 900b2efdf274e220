"""Make the pictures of the README and of the simulator's page: `.venv/bin/python docs/picture.py`.

`rille.jpg`: two simulated frames as `rille run` draws them (a lunar drive with its two networks, a
descent with the one for craters), and between them another drive, half with its truth.
`sim-sheet.jpg`: four terrains under three Suns, Mars, the descent, and truths.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

import rille
from rille.draw import PANEL_PX, annotate, canvas_size
from rille.sim.overlay import in_colour, sheet, with_truth
from rille.sim.scenario import Scenario, open_simulator

if TYPE_CHECKING:
    from numpy.typing import NDArray

MARS = Scenario(
    world="mars",
    view="rover",
    terrain="boulder-field",
    seed=4,
    sun_azimuth_deg=60.0,
    hardware=False,
)
DRIVE = Scenario(
    view="rover", terrain="crater-field", sun_azimuth_deg=275.0, sun_elevation_deg=18.0
)
ROCKS = Scenario(view="rover", terrain="boulder-field", seed=3, sun_azimuth_deg=60.0)
DESCENT = Scenario(frames=250)
TERRAINS = ("mare", "crater-field", "boulder-field", "highland")
SUNS_DEG = (4.0, 15.0, 40.0)
DOCS = Path(__file__).parent


def main() -> None:
    """Make both pictures."""
    drive = rille.Pipeline(
        classify=rille.load_bundle("moon-scene"), segment=rille.load_bundle("moon-rocks")
    )
    descent = rille.Pipeline(segment=rille.load_bundle("moon-craters"))
    row = np.hstack(
        [annotated(ROCKS, 60, drive), truth(DRIVE, 100), annotated(DESCENT, 200, descent)]
    )
    small = cv2.resize(row, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)
    write("rille.jpg", small)  # type: ignore[arg-type]
    write("sim-sheet.jpg", sheet(contacts(), 4, 320))


def contacts() -> list[NDArray[np.uint8]]:
    """Return the frames of the contact sheet, four in a row."""
    frames = []
    for elevation in SUNS_DEG:
        for terrain in TERRAINS:
            drive = Scenario(
                view="rover",
                terrain=terrain,
                sun_elevation_deg=elevation,
                sun_azimuth_deg=100.0,
                seed=12,
                hardware=False,
            )
            frames.append(open_simulator(drive).frame(60)[0])
    for terrain in TERRAINS:
        frames.append(open_simulator(replace(MARS, terrain=terrain)).frame(60)[0])
    for terrain in TERRAINS:
        pixels, known = open_simulator(replace(DRIVE, terrain=terrain)).frame(150)
        assert known is not None
        frames.append(with_truth(pixels, known))
    for elevation in SUNS_DEG:
        descent = replace(DESCENT, sun_elevation_deg=elevation)
        frames.append(open_simulator(descent).frame(120)[0])
    pixels, known = open_simulator(DESCENT).frame(120)
    assert known is not None
    frames.append(with_truth(pixels, known))
    return frames


def write(name: str, picture: NDArray[np.uint8]) -> None:
    """Write an RGB picture into docs/."""
    cv2.imwrite(str(DOCS / name), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])


def annotated(scenario: Scenario, index: int, pipeline: rille.Pipeline) -> NDArray[np.uint8]:
    """Return one frame with the pipeline's results."""
    pixels, _ = open_simulator(scenario).frame(index)
    with pipeline:
        frame = rille.Frame(pixels=pixels, index=index, captured_ns=time.monotonic_ns())
        return annotate(pipeline.run(frame), canvas_size(scenario.width, scenario.height))


def truth(scenario: Scenario, index: int) -> NDArray[np.uint8]:
    """Return one frame, its right half with its truth, over an empty panel."""
    pixels, known = open_simulator(scenario).frame(index)
    assert known is not None
    half = scenario.width // 2
    picture = np.hstack([in_colour(pixels)[:, :half], with_truth(pixels, known)[:, half:]])
    panel = np.full((PANEL_PX, scenario.width, 3), 20, np.uint8)
    words = "simulated, with its truth: craters, stones, tracks, hardware, shadow"
    cv2.putText(
        panel, words, (12, 38), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (200, 200, 200), 1, cv2.LINE_AA
    )
    return np.vstack([picture, panel])


if __name__ == "__main__":
    main()
