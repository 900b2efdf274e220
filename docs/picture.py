"""Make the README's picture: `.venv/bin/python docs/picture.py` writes docs/descent.jpg.

Three frames of the simulated descent as `rille run` draws them.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

import rille
from rille.draw import annotate, canvas_size

FRAMES = (10, 130, 245)


def main() -> None:
    """Run the pipeline over the descent and put three annotated frames side by side."""
    pictures = []
    pipeline = rille.Pipeline(
        classify=rille.load_bundle("mars-msl24"), segment=rille.load_bundle("moon-craters")
    )
    with rille.open_source("sim://moon?seed=7&frames=250&realtime=0") as camera, pipeline:
        for result in pipeline.stream(camera):
            if result.index in FRAMES and result.frame is not None:
                pictures.append(annotate(result, canvas_size(640, 480)))
    row = np.hstack(pictures)
    half = cv2.resize(row, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)
    path = Path(__file__).parent / "descent.jpg"
    cv2.imwrite(str(path), cv2.cvtColor(half, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    main()
