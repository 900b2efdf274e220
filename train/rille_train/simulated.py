"""Writes simulated orbital tiles as a data set, in the layout of the real one.

    python -m rille_train.simulated runs/sim --tiles 900

Images are 416 px tiles stretched to 640 px JPEG, boxes are clipped at the border, the Sun stands
on the side of the real training quadrants: recipes and adapters read it unchanged.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.ellipse import Ellipse
from rille.sim.orbital import TILE_PX, TILES_A_SCENE, scene_of, tile

if TYPE_CHECKING:
    from numpy.typing import NDArray

STORED_PX = 640
"""The real tiles are 416 px stretched to this."""
_QUALITY = 95
_VALID_SCENES = 1_000_000
_INDEX = "train: train/images\nval: valid/images\n\nnc: 1\nnames: ['crater']\n"


def write_tiles(root: Path, tiles: int, valid: int, *, first: int = 0, sun: str = "right") -> None:
    """Write a data set: `data.yaml`, and images with labels for a split each.

    No scene is in both splits: the scenes of validation are counted from a million.

    Args:
        root: the new folder.
        tiles, valid: how many for training and for validation.
        first: seed of the first tile; another one gives other scenes.
        sun: the side on which the Sun stands. The walls of quadrants A and B of the real set are
            bright on the left, so it stood on the right there; see `rille.sim.orbital.tile`.
    """
    start = _VALID_SCENES * TILES_A_SCENE
    for split, seeds in (
        ("train", range(first, first + tiles)),
        ("valid", range(first + start, first + start + valid)),
    ):
        images, labels = root / split / "images", root / split / "labels"
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(exist_ok=True)
        for seed in seeds:
            pixels, ellipses, _ = tile(seed, sun=sun)
            name = f"Sim-{scene_of(seed)}-{seed % TILES_A_SCENE}"
            (images / f"{name}.jpg").write_bytes(stored(pixels))
            (labels / f"{name}.txt").write_text("\n".join(label_lines(ellipses)))
    (root / "data.yaml").write_text(_INDEX)


def stored(pixels: NDArray[np.uint8]) -> bytes:
    """Return a (416, 416) tile as the real ones are stored: 640 px, JPEG."""
    large = cv2.resize(pixels, (STORED_PX, STORED_PX), interpolation=cv2.INTER_LINEAR)
    done, data = cv2.imencode(".jpg", large, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done
    return data.tobytes()


def label_lines(ellipses: Sequence[Ellipse]) -> list[str]:
    """Return the label lines of upright ellipses in a 416 px tile, boxes clipped at its border."""
    lines = []
    for e in ellipses:
        wide = e.angle_deg < 45
        half_w, half_h = (e.semi_major, e.semi_minor) if wide else (e.semi_minor, e.semi_major)
        left, right = max(0.0, e.x + 0.5 - half_w), min(float(TILE_PX), e.x + 0.5 + half_w)
        top, bottom = max(0.0, e.y + 0.5 - half_h), min(float(TILE_PX), e.y + 0.5 + half_h)
        box = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        lines.append("0 " + " ".join(f"{v / TILE_PX:.6f}" for v in box))
    return lines


def main() -> None:
    """Write a data set from the command line."""
    parser = argparse.ArgumentParser(prog="python -m rille_train.simulated", description=__doc__)
    parser.add_argument("root", type=Path, help="the new folder")
    parser.add_argument("--tiles", type=int, default=900, help="tiles for training")
    parser.add_argument("--valid", type=int, default=90, help="tiles for validation")
    parser.add_argument("--first", type=int, default=0, help="seed of the first tile")
    parser.add_argument("--sun", choices=("left", "right"), default="right")
    options = parser.parse_args()
    write_tiles(options.root, options.tiles, options.valid, first=options.first, sun=options.sun)


if __name__ == "__main__":
    main()
