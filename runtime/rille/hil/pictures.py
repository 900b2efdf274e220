"""The pictures that the bench shows, and what a broken camera makes of one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.barcode import LEAST_WIDTH
from rille.errors import ConfigError, SourceError
from rille.sources import open_source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

_SIMULATED, _RECORDED = 24, 200


@functools.lru_cache(maxsize=4)
def pictures_of(source: str) -> tuple[Picture, ...]:
    """Return the pictures of a source that a scenario shows, forwards and back again.

    Args:
        source: URI of a simulator or a recording; a recording gives its first 200.

    Returns:
        At least two, all of one shape, (H, W) or (H, W, 3) uint8.

    Raises:
        ConfigError: it is live, or its pictures are too narrow for a barcode.
        SourceError: it cannot be read, or gives fewer than two.
    """
    if source.startswith("sim://"):
        mark = "&" if "?" in source else "?"
        source += f"{mark}frames={_SIMULATED}&realtime=0&truth=0"
    with open_source(source) as opened:
        if opened.realtime:
            raise ConfigError(f"{source}: the bench sets the pace; leave fps out, and no cameras")
        found = [np.ascontiguousarray(frame.pixels) for frame in islice(opened, _RECORDED)]
    same = [picture for picture in found if picture.shape == found[0].shape]
    if len(same) < 2:
        raise SourceError(f"{source}: a scenario needs two pictures of one size, here is less")
    if same[0].shape[1] < LEAST_WIDTH:
        raise ConfigError(f"{source}: pictures must be {LEAST_WIDTH} px wide for the barcode")
    return tuple(same)


def at_turn(count: int, turn: int) -> int:
    """Return which of `count` pictures is shown at a turn: there and back, none twice in a row."""
    k = turn % (2 * count - 2)
    return min(k, 2 * count - 2 - k)


def _noise(picture: Picture, rng: np.random.Generator) -> Picture:
    return rng.integers(0, 256, picture.shape, np.uint8)


def _covered(picture: Picture, rng: np.random.Generator) -> Picture:
    """Return it with a smooth, still spot over a part that is not at the upper edge."""
    height, width = picture.shape[:2]
    spot = picture.copy()
    spot[height * 2 // 5 : height * 4 // 5, width // 4 : width * 3 // 4] = 70
    return spot


def _blurred(picture: Picture, rng: np.random.Generator) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 6.0), np.uint8)


def _smaller(picture: Picture, rng: np.random.Generator) -> Picture:
    height, width = picture.shape[:2]
    size = (max(LEAST_WIDTH, width * 4 // 5), max(32, height * 4 // 5))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _colour(picture: Picture, rng: np.random.Generator) -> Picture:
    return picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)


Spoil = Callable[["Picture", np.random.Generator], "Picture"]
SPOILT: dict[tuple[str, str], tuple[Spoil, str]] = {
    ("garbage", "noise"): (_noise, "limit"),
    ("wrong", "black"): (lambda p, _: np.zeros_like(p), "flag:dark"),
    ("wrong", "white"): (lambda p, _: np.full_like(p, 255), "flag:saturated"),
    ("wrong", "flat"): (lambda p, _: np.full_like(p, 120), "flag:flat"),
    ("wrong", "blurred"): (_blurred, "flag:blurred"),
    ("wrong", "covered"): (_covered, "free"),
    ("wrong", "size"): (_smaller, "flag:resized"),
    ("wrong", "colour"): (_colour, "free"),
}
"""Type and value of a camera's fault -> what it makes of a picture, and what must come of that.

"flag:X": published with the quality flag X or not at all. "free": nothing is asked of the single
frame. "limit": it cannot be told from a good one, and is counted.
"""
