"""Canonical light: a frame turned so that the Sun stands where the network was trained to have it.

A network that only ever saw craters lit from one side finds more of them (object F1 .585 against
.444 with every direction, on withheld lunar tiles), and next to none (.007) when the Sun is taken
from the wrong side. One that saw the Sun on the left or on the right finds next to none when it is
above or below. So the Sun's direction comes from the vehicle, and is never trusted blindly:
now and then another turn of the same frame is tried, and the one whose features have the larger sum
of squared scores is the more likely one.

Azimuths are in the image: where the light comes from, from +x (right) towards +y (down).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.ellipse import Ellipse
from rille.preprocess import Geometry
from rille.result import Feature

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.result import Segmentation

AZIMUTHS_DEG = {
    "left": (180.0,),
    "right": (0.0,),
    "up": (270.0,),
    "down": (90.0,),
    "horizontal": (180.0, 0.0),
}
"""What a manifest calls its light -> azimuths of the Sun in the training images."""
_ROTATE = {1: cv2.ROTATE_90_CLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_COUNTERCLOCKWISE}
_HOLD_DEG = 10.0
"""A turn is kept until another brings the Sun nearer by about twice this."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One of the eight ways to lay an image on itself; no pixel is mixed with another.

    Attributes:
        mirrored: whether left and right are exchanged first.
        quarters: quarter turns clockwise after that, 0 to 3.
        off_deg: angle that then remains between the Sun and the network's side, -180 to 180; None
            where the Sun is not known.
    """

    mirrored: bool = False
    quarters: int = 0
    off_deg: float | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """What it does, in words; empty where it does nothing."""
        words = ["mirrored"] * self.mirrored
        words += [f"turned {90 * self.quarters} degrees"] * bool(self.quarters)
        return ", ".join(words)

    @property
    def inverse(self) -> Turn:
        """The turn that undoes it; a mirrored one undoes itself."""
        quarters = self.quarters if self.mirrored else -self.quarters % 4
        return Turn(self.mirrored, quarters, self.off_deg)

    def azimuth(self, azimuth_deg: float) -> float:
        """Return where a direction points after the turn, 0 to 360."""
        return ((180.0 - azimuth_deg if self.mirrored else azimuth_deg) + 90 * self.quarters) % 360

    def under(self, light: str, azimuth_deg: float) -> Turn:
        """Return this turn with the angle it leaves to a network's side for a Sun in the image."""
        return replace(self, off_deg=_off(light, self.azimuth(azimuth_deg)))

    def apply(
        self, pixels: NDArray[np.uint8], out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Return the turned image; the image itself where there is nothing to do.

        Args:
            pixels: (H, W) or (H, W, 3).
            out: where to write it, of the turned shape; None for new memory.
        """
        if self.mirrored and self.quarters in (0, 2):
            turned = cv2.flip(pixels, 0 if self.quarters else 1, dst=out)
        elif self.quarters:
            image = cv2.flip(pixels, 1) if self.mirrored else pixels
            turned = cv2.rotate(image, _ROTATE[self.quarters], dst=out)
        else:
            return pixels
        return np.asarray(turned, np.uint8)

    def ellipse(self, ellipse: Ellipse, width: int, height: int) -> Ellipse:
        """Return where an ellipse of a `width` x `height` image lies after the turn."""
        x, y, angle = ellipse.x, ellipse.y, ellipse.angle_deg
        if self.mirrored:
            x, angle = width - 1 - x, 180.0 - angle
        for _ in range(self.quarters):
            x, y, width, height = height - 1 - y, x, height, width
            angle += 90.0
        return Ellipse(x, y, ellipse.semi_major, ellipse.semi_minor, angle % 180.0)

    def geometry(self, geometry: Geometry, width: int, height: int) -> Geometry:
        """Return where the pixels of a turned network grid lie in the turned source image.

        Args:
            geometry: before the turn.
            width, height: of the grid, network pixels.
        """
        g = geometry
        if self.mirrored:
            g = replace(g, left=width - g.left - g.width)
        for _ in range(self.quarters):
            g = Geometry(
                scale_x=g.scale_y,
                scale_y=g.scale_x,
                left=height - g.top - g.height,
                top=g.left,
                width=g.height,
                height=g.width,
                source_width=g.source_height,
                source_height=g.source_width,
            )
            width, height = height, width
        return g

    def restore(self, found: Segmentation) -> Segmentation:
        """Return what was found in a turned frame as it lies in the frame itself."""
        if not self.name:
            return replace(found, sun_off_deg=self.off_deg)
        back, g = self.inverse, found.geometry
        cell_x, cell_y = found.cell_px
        rows, columns = found.mask.shape
        return replace(
            found,
            mask=back.apply(found.mask),
            geometry=back.geometry(g, round(columns * cell_x), round(rows * cell_y)),
            features=tuple(
                Feature(f.label, back.ellipse(f.ellipse, g.source_width, g.source_height), f.score)
                for f in found.features
            ),
            cell_px=(cell_y, cell_x) if self.quarters % 2 else found.cell_px,
            turned=self.name,
            sun_off_deg=self.off_deg,
        )


_TURNS = {
    light: (Turn(), Turn(True, 2 if light in ("up", "down") else 0), Turn(False, 1), Turn(False, 3))
    for light in AZIMUTHS_DEG
}
"""Light -> what brings the Sun to its side from each. Where the Sun is opposite, the image is
mirrored, not turned by half, so that up stays up for networks lit from left or right."""


def wrapped(angle_deg: float) -> float:
    """Return an angle as -180 (inclusive) to 180."""
    return (angle_deg + 180.0) % 360.0 - 180.0


def _off(light: str, azimuth_deg: float) -> float:
    """Return the angle to the nearest side of a network's light."""
    return min((wrapped(azimuth_deg - side) for side in AZIMUTHS_DEG[light]), key=abs)


def turn_for(light: str, azimuth_deg: float, before: Turn | None = None) -> Turn:
    """Return the turn that brings the Sun nearest to the side a network was trained for.

    Args:
        light: that side; a key of `AZIMUTHS_DEG`.
        azimuth_deg: of the Sun in the image.
        before: the turn of the last frame; kept while it is hardly worse, so that a Sun between two
            sides does not make it change from frame to frame.

    Returns:
        The turn with the angle that remains, which is at most 45 degrees, or 55 with `before`.
    """
    turns = _TURNS[light]
    if before is not None and before in turns:
        kept = before.under(light, azimuth_deg)
        if abs(kept.off_deg or 0.0) <= 45.0 + _HOLD_DEG:
            return kept
    # Rounded: of two that are as good, the first, which leaves the image as it is.
    return min(
        (turn.under(light, azimuth_deg) for turn in turns),
        key=lambda turn: round(abs(turn.off_deg or 0.0), 6),
    )
