"""Random variations of training images: one geometric warp, one look-up table, then noise.

Each function takes its own random generator, so that a sample depends on the seed, the epoch and
its position alone, never on threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.datasets import IGNORED
from rille.ellipse import Ellipse
from rille_train.recipe import AugmentRecipe

if TYPE_CHECKING:
    from numpy.typing import NDArray


def warp_photo(
    image: NDArray[np.uint8], width: int, height: int, how: AugmentRecipe, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Cut, turn, mirror and stretch a photograph to the network's size in one interpolation.

    With every variation off this is the plain resize of preprocessing.

    Args:
        image: (H, W, 3) or (H, W) uint8.
        width, height: size of the result in pixels.
        how: what to vary.
        rng: where chance comes from.
    """
    area = rng.uniform(how.crop, 1.0)
    aspect = np.exp(rng.uniform(-0.25, 0.25)) if how.crop < 1 else 1.0
    share_w, share_h = min(1.0, np.sqrt(area * aspect)), min(1.0, np.sqrt(area / aspect))
    # As in flight, exact halving first where bilinear sampling would alias.
    while image.shape[1] * share_w >= 2 * width and image.shape[0] * share_h >= 2 * height:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = cv2.resize(image, half, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    rows, columns = image.shape[:2]
    crop_w, crop_h = share_w * columns, share_h * rows
    centre_x = rng.uniform(crop_w / 2, columns - crop_w / 2)
    centre_y = rng.uniform(crop_h / 2, rows - crop_h / 2)
    turn = np.radians(rng.uniform(-how.rotate_deg, how.rotate_deg))
    mirror_x = -1.0 if how.flip and rng.random() < 0.5 else 1.0
    mirror_y = -1.0 if how.flip_vertical and rng.random() < 0.5 else 1.0
    scale_x, scale_y = mirror_x * crop_w / width, mirror_y * crop_h / height
    c, s = np.cos(turn), np.sin(turn)
    # From result pixels (about their middle) to source pixels (about the crop's middle).
    linear = np.array([[c * scale_x, -s * scale_y], [s * scale_x, c * scale_y]])
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = np.array([centre_x - 0.5, centre_y - 0.5]) - linear @ middle
    matrix = np.hstack([linear, shift[:, None]])
    return cv2.warpAffine(  # type: ignore[return-value]
        image,
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def tone(
    image: NDArray[np.uint8], how: AugmentRecipe, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Change brightness, contrast, gamma and colour balance by one look-up table, then degrade.

    Args:
        image: (H, W, 3) or (H, W) uint8.
        how: what to vary.
        rng: where chance comes from.
    """
    channels = 1 if image.ndim == 2 else 3
    unit = np.linspace(0.0, 1.0, 256)[:, None] ** np.exp(rng.uniform(-how.gamma, how.gamma))
    contrast = 1 + rng.uniform(-how.contrast, how.contrast)
    gains = 1 + rng.uniform(-how.colour, how.colour, (1, channels))
    unit = ((unit - 0.5) * contrast + 0.5) * gains + rng.uniform(-how.brightness, how.brightness)
    table = np.clip(255 * unit + 0.5, 0, 255).astype(np.uint8)
    image = cv2.LUT(image, table.reshape(1, 256, channels))  # type: ignore[assignment]
    if channels == 3 and rng.random() < how.gray:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        image = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)  # type: ignore[assignment]
    if how.blur_px and rng.random() < 0.3:
        blur = rng.uniform(0.25, 1.0) * how.blur_px
        image = cv2.GaussianBlur(image, (0, 0), blur)  # type: ignore[assignment]
    if how.noise and rng.random() < 0.5:
        grain = rng.standard_normal(image.shape, np.float32) * rng.uniform(0, how.noise)
        image = np.clip(image + grain + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < how.erase:
        image = _erased(image, rng)
    return image


def _erased(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cover a rectangle of 2 to 20 % of the image with one grey level (Zhong et al. 2020)."""
    rows, columns = image.shape[:2]
    area, aspect = rng.uniform(0.02, 0.2), np.exp(rng.uniform(-0.8, 0.8))
    high = int(min(1.0, np.sqrt(area / aspect)) * rows)
    wide = int(min(1.0, np.sqrt(area * aspect)) * columns)
    top, left = rng.integers(0, rows - high + 1), rng.integers(0, columns - wide + 1)
    image = image.copy()
    image[top : top + high, left : left + wide] = rng.integers(0, 256)
    return image


def cut_window(
    tile: NDArray[np.uint8],
    ellipses: list[Ellipse],
    how: AugmentRecipe,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], list[Ellipse], bool]:
    """Cut a square window out of a tile at native scale, mirrored and zoomed at random.

    Args:
        tile: (H, W) uint8.
        ellipses: upright features in the tile's pixels.
        how: what to vary.
        rng: where chance comes from.

    Returns:
        The (window_px, window_px) window, the features that reach into it, in its pixels, and
        whether left and right were exchanged.
    """
    side = how.window_px
    if how.zoom:
        zoom = max(np.exp(rng.uniform(-how.zoom, how.zoom)), side / min(tile.shape))
        tile = cv2.resize(tile, None, fx=zoom, fy=zoom)  # type: ignore[assignment]
        ellipses = [e.mapped(zoom, zoom, 0.5 * zoom - 0.5, 0.5 * zoom - 0.5) for e in ellipses]
    left = int(rng.integers(0, tile.shape[1] - side + 1))
    top = int(rng.integers(0, tile.shape[0] - side + 1))
    window = tile[top : top + side, left : left + side]
    mirror_x = how.flip and rng.random() < 0.5
    mirror_y = how.flip_vertical and rng.random() < 0.5
    if mirror_x:
        window = window[:, ::-1]
    if mirror_y:
        window = window[::-1]
    inside = []
    for e in ellipses:
        x, y = e.x - left, e.y - top
        reach = e.semi_major
        if -reach < x < side + reach and -reach < y < side + reach:
            x = side - 1 - x if mirror_x else x
            y = side - 1 - y if mirror_y else y
            inside.append(Ellipse(x, y, e.semi_major, e.semi_minor, e.angle_deg))
    return np.ascontiguousarray(window), inside, mirror_x


def warp_scene(
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    side: int,
    how: AugmentRecipe,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Cut a square window out of a scene and its class mask, turned, zoomed and mirrored alike.

    Args:
        image: (H, W, 3) or (H, W) uint8.
        mask: (H, W) uint8.
        side: of the window in pixels.
        how: what to vary.
        rng: where chance comes from.

    Returns:
        The window, mirrored over at the scene's edge, and its mask, ignored beyond it.
    """
    rows, columns = mask.shape
    scale = np.exp(-rng.uniform(-how.zoom, how.zoom))
    turn = np.radians(rng.uniform(-how.rotate_deg, how.rotate_deg))
    mirror_x = -1.0 if how.flip and rng.random() < 0.5 else 1.0
    mirror_y = -1.0 if how.flip_vertical and rng.random() < 0.5 else 1.0
    c, s = np.cos(turn) * scale, np.sin(turn) * scale
    linear = np.array([[c * mirror_x, -s * mirror_y], [s * mirror_x, c * mirror_y]])
    reach = scale * side / 2
    middle = [
        rng.uniform(min(reach, length / 2), max(length - reach, length / 2)) - 0.5
        for length in (columns, rows)
    ]
    shift = np.array(middle) - linear @ np.full(2, (side - 1) / 2)
    matrix = np.hstack([linear, shift[:, None]])
    size, inverse = (side, side), cv2.WARP_INVERSE_MAP
    window = cv2.warpAffine(
        image, matrix, size, flags=cv2.INTER_LINEAR | inverse, borderMode=cv2.BORDER_REFLECT_101
    )
    classes = cv2.warpAffine(
        mask,
        matrix,
        size,
        flags=cv2.INTER_NEAREST | inverse,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=IGNORED,
    )
    return np.asarray(window, np.uint8), np.asarray(classes, np.uint8)
