"""One colour for each thing on the ground, the same in videos, reports and contact sheets."""

from __future__ import annotations

COLOURS = {
    "crater": (255, 190, 60),
    "stone": (90, 220, 110),
    "artifact": (240, 80, 80),
    "track": (80, 160, 255),
}
"""Label -> RGB. What is not here, such as the sky, is left as it is."""
OTHER = (200, 130, 255)
"""RGB of a label that has no colour of its own."""
