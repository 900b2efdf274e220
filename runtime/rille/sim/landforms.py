"""Landforms other than craters: ridges, scarps, rilles; and what makes a large crater irregular."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.sim.relief import fractal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.sim.craters import Craters

    Profile = Callable[[NDArray[np.float32]], NDArray[np.float32]]

_NOISE_CELLS = 256
_LINE_M = (6_500.0, 29_000.0)
_LINE_WIDE_M, _LINE_SWAY = 1600.0, 0.12
_TERRACED_M, _PEAKED_M, _HUMMOCKY_M = 13_000.0, 20_000.0, 5_000.0


def add_lines(
    height: NDArray[np.float32], rng: np.random.Generator, cell_m: float, kind: str, count: int
) -> None:
    """Add winding landforms to a height map in place.

    Args:
        height: (n, n) float32, metres.
        rng: where chance comes from.
        cell_m: side of a cell in metres.
        kind: "ridge" (wrinkle ridge: a broad swell with a narrow crest), "scarp" (one side
            thrust over the other) or "rille" (a trough of 100 to 400 m, straight or winding).
        count: how many.
    """
    for _ in range(count):
        x, y = rng.uniform(0, len(height), 2)
        length = float(rng.uniform(*_LINE_M)) / cell_m
        turn = math.radians(float(rng.uniform(0, 360)))
        reach = _LINE_WIDE_M / cell_m + _LINE_SWAY * length
        c, s = math.cos(turn), math.sin(turn)
        half_w = abs(c) * length / 2 + abs(s) * reach
        half_h = abs(s) * length / 2 + abs(c) * reach
        left, right = max(0, int(x - half_w)), min(height.shape[1], int(x + half_w) + 1)
        top, bottom = max(0, int(y - half_h)), min(len(height), int(y + half_h) + 1)
        bends = _bends(rng, kind, length)
        profile = _PROFILES[kind](rng)
        if left >= right or top >= bottom:
            continue
        dx = (np.arange(left, right, dtype=np.float32) - np.float32(x))[None, :]
        dy = (np.arange(top, bottom, dtype=np.float32) - np.float32(y))[:, None]
        along, across = dx * np.float32(c) + dy * np.float32(s), dy * np.float32(c)
        across = across - dx * np.float32(s)
        place = np.clip((along / np.float32(length) + np.float32(0.5)), 0, 1) * (len(bends) - 1)
        at = np.minimum(place.astype(np.int32), len(bends) - 2)
        bend = bends[at] + (bends[at + 1] - bends[at]) * (place - at)
        # Highest in the middle, nothing at either end and at the border of the strip.
        fade = np.clip(4 * (0.5 - np.abs(along) / np.float32(length)), 0, 1)
        fade *= np.clip(4 * (1 - np.abs(across) / np.float32(reach)), 0, 1)
        varied = cv2.resize(rng.uniform(0.2, 1.0, (1, 9)), (257, 1), interpolation=cv2.INTER_CUBIC)
        fade *= np.ravel(varied).astype(np.float32)[at]
        height[top:bottom, left:right] += profile((across - bend) * np.float32(cell_m)) * fade


def _bends(rng: np.random.Generator, kind: str, length: float) -> NDArray[np.float32]:
    """Return how far a line strays to its side, in cells, at even steps along it."""
    straight = kind != "ridge" and rng.random() < 0.5
    sway = rng.standard_normal((1, 5)) * (0.015 if straight else 0.06) * length
    wind = rng.standard_normal((1, max(6, int(length / 18)))) * (0.3 if straight else 2.2)
    bends = sum(cv2.resize(part, (257, 1), interpolation=cv2.INTER_CUBIC) for part in (sway, wind))
    reach = _LINE_SWAY * length
    return np.asarray(np.clip(np.ravel(bends), -0.7 * reach, 0.7 * reach), np.float32)


def _ridge(rng: np.random.Generator) -> Profile:
    swell, crest = rng.uniform(40, 140), rng.uniform(10, 50)
    wide, narrow, lean = rng.uniform(500, 1200), rng.uniform(120, 260), rng.uniform(-400, 400)

    def profile(v: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(
            swell * np.exp(-np.square(v / wide)) + crest * np.exp(-np.square((v - lean) / narrow)),
            np.float32,
        )

    return profile


def _scarp(rng: np.random.Generator) -> Profile:
    step, wide, far = rng.uniform(40, 180), rng.uniform(80, 300), rng.uniform(600, 1400)

    def profile(v: NDArray[np.float32]) -> NDArray[np.float32]:
        # The upper side slopes back to the level of the plain.
        return np.asarray(step / (1 + np.exp(-v / wide)) * np.exp(-np.maximum(v, 0) / far))

    return profile


def _rille(rng: np.random.Generator) -> Profile:
    wide = rng.uniform(60, 200)
    depth = wide * rng.uniform(0.15, 0.5)

    def profile(v: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(-depth * np.exp(-np.square(np.square(v / wide))), np.float32)

    return profile


_PROFILES = {"ridge": _ridge, "scarp": _scarp, "rille": _rille}


def weather_large(
    height: NDArray[np.float32], craters: Craters, rng: np.random.Generator, cell_m: float
) -> None:
    """Make large craters irregular in place, after they were stamped.

    Outlines and walls are displaced by smooth noise of some hundredths of a radius; young floors
    beyond 5 km get hummocks, walls beyond 13 km terraces, floors beyond 20 km a central peak
    (Pike 1977: about the diameters where lunar craters change).

    Args:
        height: (n, n) float32, metres.
        craters: those to treat, in metres from the first cell's centre.
        rng: where chance comes from.
        cell_m: side of a cell in metres.
    """
    noise = [fractal(rng, _NOISE_CELLS, 1.0, 0.6, points=4) for _ in range(3)]
    noise = [n / n.std() for n in noise]
    for k in range(len(craters)):
        radius = craters.diameter_m[k] / 2 / cell_m
        x, y, reach = craters.x_m[k] / cell_m, craters.y_m[k] / cell_m, radius * 1.5
        left, right = max(0, int(x - reach)), min(height.shape[1], int(x + reach) + 2)
        top, bottom = max(0, int(y - reach)), min(len(height), int(y + reach) + 2)
        if right - left < 8 or bottom - top < 8:
            continue
        dx = (np.arange(left, right, dtype=np.float32) - np.float32(x))[None, :] / radius
        dy = (np.arange(top, bottom, dtype=np.float32) - np.float32(y))[:, None] / radius
        r = np.sqrt(dx * dx + dy * dy).astype(np.float32)
        here = [_cut(n, rng, r.shape, radius) for n in noise]
        part = height[top:bottom, left:right]
        stray = np.clip((1.45 - r) * 4, 0, 1) * np.float32(radius * rng.uniform(0.012, 0.028))
        part[:] = _displaced(np.ascontiguousarray(part), here[0] * stray, here[1] * stray)
        youth = float(np.exp(-craters.wear[k] / 0.06))
        part += _inner_forms(r, here, float(craters.diameter_m[k]), rng) * np.float32(youth)


def _displaced(
    part: NDArray[np.float32], dx: NDArray[np.float32], dy: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the heights (dx, dy) cells away from each cell.

    `cv2.remap` knows 32 places between two cells: on a wall its steps show as ribs.
    """
    rows, columns = part.shape
    x = np.clip(np.arange(columns, dtype=np.float32)[None, :] + dx, 0, columns - 1.001)
    y = np.clip(np.arange(rows, dtype=np.float32)[:, None] + dy, 0, rows - 1.001)
    column, row = x.astype(np.int32), y.astype(np.int32)
    x -= column
    y -= row
    at = row * np.int32(columns) + column
    upper = part.take(at)
    upper += (part.take(at + 1) - upper) * x
    at += columns
    lower = part.take(at)
    lower += (part.take(at + 1) - lower) * x
    return np.asarray(upper + (lower - upper) * y, np.float32)


def _cut(
    noise: NDArray[np.float32], rng: np.random.Generator, shape: tuple[int, ...], radius: float
) -> NDArray[np.float32]:
    """Return a random part of a noise map at 64 cells a crater radius, enlarged to `shape`."""
    side = max(8, min(_NOISE_CELLS - 1, int(64 * max(shape) / radius)))
    row, column = rng.integers(0, _NOISE_CELLS - side, 2)
    part = noise[row : row + side, column : column + side]
    large = cv2.resize(part, shape[::-1], interpolation=cv2.INTER_CUBIC)
    # Cubic pieces show their joints as a comb where they are several cells long.
    joint = max(shape) / side
    return cv2.GaussianBlur(large, (0, 0), 0.5 * joint) if joint > 1.5 else large  # type: ignore[return-value]


def _inner_forms(
    r: NDArray[np.float32],
    noise: list[NDArray[np.float32]],
    diameter_m: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Return hummocks, terraces and the central peak of a young crater, in metres."""
    floor = np.clip((0.62 - r) * 5, 0, 1)
    wall = np.clip((r - 0.45) * 8, 0, 1) * np.clip((1.02 - r) * 12, 0, 1)
    grown = float(np.clip((diameter_m - _HUMMOCKY_M) / 10_000.0, 0, 1))
    forms = noise[2] * (floor * np.float32(0.004 * grown) + wall * np.float32(0.003))
    if diameter_m > _TERRACED_M:
        steps = float(rng.uniform(1.5, 2.5))
        phase = steps * (r + np.float32(0.07) * noise[0]) * 2 * math.pi / 0.55
        forms = forms + wall * np.sin(phase) * np.clip(noise[1], 0, 1) * np.float32(0.0025)
    if diameter_m > _PEAKED_M:
        high = 0.0006 * (diameter_m / 1000.0) ** 1.97 * 1000.0 / diameter_m
        jagged = np.exp(-np.square(r / 0.14)) * np.clip(1.1 + 0.4 * noise[1], 0.4, None)
        forms = forms + jagged * np.float32(high)
    return np.asarray(forms * np.float32(diameter_m), np.float32)
