"""What people brought: a lander standing about, and the tracks of an earlier drive."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.sim import solids
from rille.sim.solids import BOX, WHEEL, Solids, solid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.sim.drive import Loop

_RUT_M, _RUT_DEPTH_M, _CLEAT_M = 0.20, 0.030, 0.15


def lander(x_m: float, y_m: float, ground_m: float, yaw: float) -> Solids:
    """Return a lander of about three metres: body, four legs with pads, two panels, a mast.

    Args:
        x_m, y_m: where it stands.
        ground_m: height of the ground there.
        yaw: turn in radians.
    """
    cos, sin = math.cos(yaw), math.sin(yaw)
    turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    foot = np.array([x_m, y_m, ground_m])

    def part(
        at: tuple[float, float, float],
        half: tuple[float, float, float],
        shape: int,
        albedo: float,
        lean: float = 0.0,
    ) -> Solids:
        c, s = math.cos(lean), math.sin(lean)
        tilt = np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])
        return solid(foot + np.array(at) @ turn, tilt @ turn, np.array(half), shape, albedo)

    parts = [
        part((0, 0, 1.25), (0.85, 0.85, 0.45), BOX, 3.2),
        part((0, 0, 1.78), (0.55, 0.55, 0.10), BOX, 5.0),
        part((0, 1.75, 1.75), (0.62, 0.88, 0.02), BOX, 0.55, lean=0.5),
        part((0, -1.75, 1.75), (0.62, 0.88, 0.02), BOX, 0.55, lean=0.5),
        part((0.3, 0.3, 2.5), (0.03, 0.03, 0.7), BOX, 4.0),
        part((0.3, 0.3, 3.2), (0.30, 0.05, 0.30), WHEEL, 5.5),
    ]
    for sx in (-1.0, 1.0):
        for sy in (-1.0, 1.0):
            parts.append(
                part((1.05 * sx, 0.75 * sy, 0.55), (0.05, 0.05, 0.62), BOX, 3.6, lean=0.5 * sx)
            )
            parts.append(part((1.35 * sx, 0.75 * sy, 0.04), (0.18, 0.18, 0.05), BOX, 3.0))
    return solids.joined(parts)


def rover(at_m: NDArray[np.float64], axes: NDArray[np.float64], mast_m: float) -> Solids:
    """Return the rover that carries the camera: deck, panel, boom, body, wheels and mast.

    Args:
        at_m: (3,) the ground below the mast.
        axes: (3, 3) ahead, to the right and up, unit vectors as rows.
        mast_m: height of the camera.
    """

    def part(
        at: tuple[float, float, float], half: tuple[float, float, float], shape: int, albedo: float
    ) -> Solids:
        return solid(at_m + np.array(at) @ axes, axes, np.array(half), shape, albedo)

    top = mast_m - 0.62
    parts = [
        part((0.50, -0.28, top), (0.42, 0.20, 0.015), BOX, 0.5),
        part((0.50, 0.28, top), (0.42, 0.20, 0.015), BOX, 0.5),
        part((0.93, 0.0, top + 0.01), (0.012, 0.50, 0.02), BOX, 4.5),
        part((1.10, 0.36, top + 0.10), (0.30, 0.012, 0.012), BOX, 4.0),
        part((-0.10, 0.0, 0.65), (0.75, 0.42, 0.22), BOX, 2.5),
        part((0.0, 0.0, 0.5 * mast_m + 0.3), (0.03, 0.03, 0.5 * mast_m - 0.42), BOX, 4.0),
    ]
    for ahead in (-0.65, 0.0, 0.65):
        for side in (-0.45, 0.45):
            parts.append(part((ahead, side, 0.18), (0.18, 0.10, 0.18), WHEEL, 1.2))
    return solids.joined(parts)


def imprint_tracks(height: NDArray[np.float32], loop: Loop, cell_m: float) -> NDArray[np.uint8]:
    """Press the tracks of a drive into a height map in place.

    Args:
        height: (n, n) float32, metres, centred on the origin.
        loop: the way driven.
        cell_m: side of a cell.

    Returns:
        (n, n) uint8, 255 in the ruts, softened so that 127.5 between cells is their edge.
    """
    mask = np.zeros(height.shape, np.uint8)
    cleats = np.zeros(height.shape, np.uint8)
    corner = -(len(height) - 1) / 2 * cell_m
    shift = 16.0
    for rut in loop.ruts():
        cells = np.rint((rut - corner) / cell_m * shift).astype(np.int32)
        cv2.polylines(mask, [cells[:, None]], False, 255, round(_RUT_M / cell_m), shift=4)
        ahead = np.gradient(rut, axis=0)
        along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(rut, axis=0), axis=1))])
        side = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1)
        side *= _RUT_M / 2 / np.linalg.norm(side, axis=1, keepdims=True)
        for s in np.arange(0.0, along[-1], _CLEAT_M):
            k = int(np.searchsorted(along, s))
            ends = np.rint((rut[k] + np.array([side[k], -side[k]]) - corner) / cell_m * shift)
            a, b = ends.astype(int).tolist()
            cv2.line(cleats, a, b, 1, 1, shift=4)
    rut = mask.astype(np.float32) / 255
    deep = cv2.GaussianBlur(rut, (0, 0), 0.7)
    berm = cv2.GaussianBlur(rut, (0, 0), 2.5) * (1 - deep)
    bars = cv2.GaussianBlur(cleats.astype(np.float32), (0, 0), 0.6)
    relief = np.asarray(1.4 * berm - deep + 1.1 * bars * deep, np.float32)
    height += np.float32(_RUT_DEPTH_M) * relief
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 1.0), np.uint8)
