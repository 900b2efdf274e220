"""What a rover's view shows: classes, craters, rocks and scene labels, from the rays themselves."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.ellipse import Ellipse
from rille.frame import CLASSES, Stone, Truth
from rille.sim.detail import gather
from rille.sim.lens import Lens, View

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.sim.ground import Ground
    from rille.sim.rover import Rendering

LEAST_CRATER_PX, LEAST_STONE_PX = 24, 3
"""Smaller areas are not listed; their pixels keep their class."""
LABEL_LIMITS = {
    "artifact": (0.002, 0.010),
    "tracks": (0.0, 0.003),
    "stones": (0.0005, 0.003),
    "crater": (0.002, 0.010),
}
"""Scene label -> shares of the frame up to which it is absent and from which it is present."""
_MASK_OF = {"artifact": "artifact", "tracks": "track", "stones": "stone", "crater": "crater"}
_LIT = 0.02
_TRACK = 127
_OUTLINE_POINTS = 48


def surface_truth(ground: Ground, lens: Lens, view: View, seen: Rendering) -> Truth:
    """Return the truth of a rendered view.

    A pixel's class is that of what its centre ray hits: sky, rock (stone), hardware (artifact),
    wheel track, inside of a labelled crater, other ground. Younger craters own what they overlap.
    """
    classes, craters = _classes(ground, seen)
    ellipses, numbers, visible = _craters(ground, lens, view, craters)
    body = seen.body
    stones = _stones(ground, np.where(body < len(ground.rocks), body, -1))
    shadow = (seen.light <= _LIT) & np.isfinite(seen.range_m)
    middle = seen.range_m[lens.height // 2, lens.width // 2]
    return Truth(
        crater_mask=(classes == CLASSES.index("crater")).astype(np.uint8),
        craters=tuple(ellipses),
        diameters_m=tuple(float(ground.labelled.diameter_m[k]) for k in numbers),
        depth_ratios=tuple(float(v) for v in ground.labelled.depth_ratio[numbers]),
        visible=tuple(visible),
        metres_per_px=float(middle / lens.focal_px),
        sun_azimuth_deg=ground.sun_azimuth_deg,
        sun_elevation_deg=ground.sun_elevation_deg,
        pose=asdict(view),
        classes=classes,
        shadow=shadow.astype(np.uint8),
        range_m=seen.range_m,
        stones=stones,
        labels=scene_labels(classes),
    )


def scene_labels(classes: NDArray[np.uint8]) -> dict[str, bool | None]:
    """Return independent scene labels, measured on the class mask, with margins.

    A share between both of its `LABEL_LIMITS` makes no clear case, and gives None.
    """
    share = np.bincount(classes.ravel(), minlength=len(CLASSES)) / classes.size
    labels: dict[str, bool | None] = {}
    for name, (absent, present) in LABEL_LIMITS.items():
        value = share[CLASSES.index(_MASK_OF[name])]
        labels[name] = True if value >= present else False if value <= absent else None
    return labels


def _classes(ground: Ground, seen: Rendering) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return the class of every pixel, and the labelled crater it lies in or -1."""
    hit = np.isfinite(seen.range_m)
    bare = (hit & (seen.body < 0)).ravel()
    x, y = seen.x_m.ravel()[bare], seen.y_m.ravel()[bare]
    found = np.full(len(x), -1, np.int32)
    outer = np.maximum(np.abs(x), np.abs(y))
    beyond = 0.0
    for outlines, level in zip(ground.outlines, ground.levels, strict=False):
        (here,) = np.nonzero((outer >= beyond) & (outer < level.half_m))
        found[here] = outlines.at(x[here], y[here])
        beyond = level.half_m
    crater = np.full(hit.size, -1, np.int32)
    crater[bare] = found
    fine = ground.levels[0]
    u, v = ((p - np.float32(fine.corner_m)) * np.float32(1 / fine.cell_m) for p in (x, y))
    rutted = (outer < fine.half_m) & (gather(ground.tracks, u, v)[:, 0] > _TRACK)
    track = np.zeros(hit.size, bool)
    track[bare] = rutted
    classes = hit.astype(np.uint8).ravel()
    classes[crater >= 0] = CLASSES.index("crater")
    classes[track] = CLASSES.index("track")
    body = seen.body.ravel()
    classes[body >= 0] = CLASSES.index("stone")
    classes[body >= len(ground.rocks)] = CLASSES.index("artifact")
    return classes.reshape(hit.shape), crater.reshape(hit.shape)


def _craters(
    ground: Ground, lens: Lens, view: View, craters: NDArray[np.int32]
) -> tuple[list[Ellipse], NDArray[np.intp], list[float]]:
    """Return ellipse, index and visible share of each crater of which enough is seen."""
    counts = np.bincount(craters[craters >= 0], minlength=len(ground.labelled))
    ellipses, numbers, visible = [], [], []
    for k in np.flatnonzero(counts >= LEAST_CRATER_PX):
        outline = _outline(ground, int(k))
        pixels, ahead = lens.project(view, outline)
        if ahead.min() < 0.3:
            continue
        # Distortion far outside the frame is not the lens's any more.
        if np.abs(pixels - [lens.width / 2, lens.height / 2]).max() > 2 * lens.width:
            continue
        (x, y), (wide, high), angle = cv2.fitEllipseDirect(pixels.astype(np.float32))
        if high >= wide:
            wide, high, angle = high, wide, angle + 90.0
        if not (np.isfinite([x, y, wide, high, angle]).all() and high > 0):
            continue
        ellipses.append(Ellipse(x, y, wide / 2, high / 2, angle % 180.0))
        numbers.append(k)
        area = max(cv2.contourArea(pixels.astype(np.float32)), 1.0)
        visible.append(min(1.0, float(counts[k]) / area))
    return ellipses, np.array(numbers, np.intp), visible


def _outline(ground: Ground, k: int) -> NDArray[np.float64]:
    """Return points on the rim of a labelled crater, (n, 3)."""
    c = ground.labelled.pick(np.array([k]))
    turn = np.radians(c.angle_deg[0])
    angle = np.linspace(0, 2 * np.pi, _OUTLINE_POINTS, endpoint=False, dtype=np.float64)
    edge = c.edge(np.array(0), angle)
    major = c.diameter_m[0] / 2 / np.sqrt(c.ratio[0])
    along, across = major * edge * np.cos(angle), major * c.ratio[0] * edge * np.sin(angle)
    x = c.x_m[0] + along * np.cos(turn) - across * np.sin(turn)
    y = c.y_m[0] + along * np.sin(turn) + across * np.cos(turn)
    return np.stack([x, y, ground.heights_at(x, y)], axis=1)


def _stones(ground: Ground, rock: NDArray[np.int32]) -> tuple[Stone, ...]:
    rows, columns = np.nonzero(rock >= 0)
    if not len(rows):
        return ()
    owner = rock[rows, columns]
    order = np.argsort(owner, kind="stable")
    owner, rows, columns = owner[order], rows[order], columns[order]
    numbers, start = np.unique(owner, return_index=True)
    count = np.diff(np.append(start, len(owner)))
    left, top = (np.minimum.reduceat(values, start) for values in (columns, rows))
    right, bottom = (np.maximum.reduceat(values, start) for values in (columns, rows))
    return tuple(
        Stone(
            box_px=(int(left[i]), int(top[i]), int(right[i]), int(bottom[i])),
            area_px=int(count[i]),
            diameter_m=float(ground.rocks.diameter_m[numbers[i]]),
        )
        for i in np.flatnonzero(count >= LEAST_STONE_PX)
    )
