"""How long each defence takes to notice a flip, in frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rille.bundle import Bundle
from rille.radiation.scrub import Scrubber
from rille.seu.flips import Flip
from rille.seu.trial import Outcome


def golden_frames(
    outcome: Outcome, images: int, every: int, rng: np.random.Generator
) -> int | None:
    """Return after how many frames a golden image tells; None where none does.

    Args:
        outcome: of the trial.
        images: how many golden images there are; they take turns.
        every: frames between two of them.
        rng: when between two checks, and before which image, the bit flips.
    """
    phase, turn = int(rng.integers(1, every + 1)), int(rng.integers(max(images, 1)))
    waits = [(which - turn) % images for which in outcome.golden]
    return phase + every * min(waits) if waits else None


def scrub_frames(
    bundle: Bundle, file: str, flips: Sequence[Flip], size: int, seed: int
) -> list[int | None]:
    """Return after how many frames the checksums tell of each flip; None where they do not.

    Args:
        bundle: verified.
        file: the network's file.
        flips: of bits of that file.
        size: bytes of a slice.
        seed: where the scrubber stands when the bits flip.
    """
    rng = np.random.default_rng([seed, 5])
    files = dict(bundle.files)
    whole = files[file]
    scrubber = Scrubber({"it": replace(bundle, files=files)}, size)
    found: list[int | None] = []
    for flip in flips:
        for _ in range(int(rng.integers(scrubber.slices))):
            scrubber.step()
        files[file] = flip.apply(whole)
        steps = range(1, scrubber.slices + 1)
        found.append(next((step for step in steps if scrubber.step() is not None), None))
        files[file] = whole
    return found
