"""What the crater network should answer for a window: mask, centre map, size map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rille.ellipse import Ellipse, draw_ellipses
from rille.postprocess.centres import SIZE_UNIT_PX
from rille_train.models.crater_unet import STRIDE

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SPREAD = 0.22
"""Standard deviation of the centre map's Gaussian, as a share of the half axis."""
_CORE = 0.3
"""The size is learnt within this share of the half axes."""


def crater_targets(ellipses: Sequence[Ellipse], side: int) -> dict[str, NDArray[np.float32]]:
    """Draw the targets of one square window.

    Args:
        ellipses: upright craters in window pixels (angle 0 or 90); parts may lie outside.
        side: side of the window in pixels.

    Returns:
        "mask" (side, side, 1), 1 inside any crater; "centre" (side/2, side/2, 1), 1 at the cell of
        a centre with a Gaussian around it; "size" (side/2, side/2, 3), log2 of width and height
        over 16 px, and 1 where they count. Smaller craters are drawn over larger ones.
    """
    mask = np.zeros((side, side), np.uint8)
    draw_ellipses(mask, ellipses)
    cells = side // STRIDE
    centre = np.zeros((cells, cells), np.float32)
    size = np.zeros((cells, cells, 3), np.float32)
    for ellipse in sorted(ellipses, key=lambda e: -e.area):
        _draw_crater(centre, size, ellipse)
    return {
        "mask": mask[:, :, None].astype(np.float32),
        "centre": centre[:, :, None],
        "size": size,
    }


def _draw_crater(centre: NDArray[np.float32], size: NDArray[np.float32], ellipse: Ellipse) -> None:
    """Add one crater to the centre and size maps in place, if its centre is inside."""
    cells = centre.shape[0]
    upright = ellipse.angle_deg < 45 or ellipse.angle_deg > 135
    half_w = ellipse.semi_major if upright else ellipse.semi_minor
    half_h = ellipse.semi_minor if upright else ellipse.semi_major
    x, y = (ellipse.x + 0.5) / STRIDE - 0.5, (ellipse.y + 0.5) / STRIDE - 0.5
    column, row = round(x), round(y)
    if not (0 <= column < cells and 0 <= row < cells):
        return
    rx, ry = half_w / STRIDE, half_h / STRIDE
    sx, sy = max(_SPREAD * rx, 0.6), max(_SPREAD * ry, 0.6)
    left, right = max(0, int(x - 3 * sx - 1)), min(cells, int(x + 3 * sx + 2))
    top, bottom = max(0, int(y - 3 * sy - 1)), min(cells, int(y + 3 * sy + 2))
    dx = np.arange(left, right, dtype=np.float32)[None, :] - x
    dy = np.arange(top, bottom, dtype=np.float32)[:, None] - y
    part = centre[top:bottom, left:right]
    np.maximum(part, np.exp(-0.5 * ((dx / sx) ** 2 + (dy / sy) ** 2)), out=part)
    centre[row, column] = 1.0
    core = (dx / max(_CORE * rx, 0.8)) ** 2 + (dy / max(_CORE * ry, 0.8)) ** 2 <= 1
    size[top:bottom, left:right][core] = (
        np.log2(2 * half_w / SIZE_UNIT_PX),
        np.log2(2 * half_h / SIZE_UNIT_PX),
        1.0,
    )
