"""Renders the pictures that both machines get: `python pictures.py FOLDER FRAMES`."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2

import rille

_VIEWS = (
    "sim://moon?view=rover&terrain=boulder-field&seed=7&size=320x240",
    "sim://moon?view=descent&seed=7&size=320x240",
    "sim://mars?view=rover&seed=7&size=320x240",
)


def main(words: list[str]) -> None:
    """Write frames of three simulated cameras, taking turns, as PNG files."""
    folder, wanted = Path(words[0]), int(words[1])
    folder.mkdir(parents=True)
    for turn, view in enumerate(_VIEWS):
        count = len(range(turn, wanted, len(_VIEWS)))
        if not count:
            continue
        with rille.open_source(f"{view}&frames={count}&realtime=0") as camera:
            for index, frame in enumerate(camera):
                pixels = cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR)
                cv2.imwrite(str(folder / f"{index * len(_VIEWS) + turn:04d}.png"), pixels)


if __name__ == "__main__":
    main(sys.argv[1:])
