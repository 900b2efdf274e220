"""Which bits to flip: a seeded choice over all weights, over each layer, and over the structure."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rille.seu.flatbuffer import WeightSpan


class Part(str, enum.Enum):
    """What a trial belongs to."""

    ALL = "all"
    """One bit, drawn from all bits of all weights: what a particle would hit."""
    LAYER = "layer"
    """One bit of one layer, as many for each, so that small layers show."""
    DOSE = "dose"
    """Several bits at once, drawn from all weights."""
    STRUCTURE = "structure"
    """One bit of what is no weight."""


@dataclass(frozen=True, slots=True)
class Flip:
    """Bits of a file that are flipped together.

    Attributes:
        part: what the trial belongs to.
        places: (byte in the file, bit of that byte) of each.
        layer: operation that reads the first of them; empty for the structure.
        bit: its place in its number, 0 the lowest; -1 for the structure.
    """

    part: Part
    places: tuple[tuple[int, int], ...]
    layer: str = ""
    bit: int = -1

    def apply(self, model: bytes) -> bytes:
        """Return a copy of a file with these bits flipped."""
        data = bytearray(model)
        for byte, bit in self.places:
            data[byte] ^= 1 << bit
        return bytes(data)


def over_all(spans: Sequence[WeightSpan], count: int, seed: int) -> list[Flip]:
    """Return flips of one bit each, every bit of every weight being equally likely."""
    rng = np.random.default_rng([seed, 1])
    return [_single(Part.ALL, *at) for at in _drawn(spans, count, rng)]


def over_layers(spans: Sequence[WeightSpan], each: int, seed: int) -> list[Flip]:
    """Return `each` flips of one bit for each layer."""
    rng = np.random.default_rng([seed, 2])
    layers = dict.fromkeys(span.layer for span in spans)
    return [
        _single(Part.LAYER, *at)
        for layer in layers
        for at in _drawn([span for span in spans if span.layer == layer], each, rng)
    ]


def over_doses(
    spans: Sequence[WeightSpan], doses: Sequence[int], each: int, seed: int
) -> list[Flip]:
    """Return `each` trials for every number of bits that are flipped at once."""
    rng = np.random.default_rng([seed, 3])
    flips = []
    for dose in doses:
        for _ in range(each):
            drawn = _drawn(spans, dose, rng)
            places = tuple(_place(span, bit) for span, bit in drawn)
            flips.append(Flip(Part.DOSE, places, drawn[0][0].layer))
    return flips


def over_structure(
    spans: Sequence[WeightSpan], model_bytes: int, count: int, seed: int
) -> list[Flip]:
    """Return flips of one bit each outside of the weights."""
    rng = np.random.default_rng([seed, 4])
    free = np.ones(model_bytes, bool)
    for span in spans:
        free[span.start : span.end] = False
    bytes_ = rng.choice(np.flatnonzero(free), count)
    bits = rng.integers(0, 8, count)
    return [
        Flip(Part.STRUCTURE, ((int(byte), int(bit)),))
        for byte, bit in zip(bytes_, bits, strict=True)
    ]


def _drawn(
    spans: Sequence[WeightSpan], count: int, rng: np.random.Generator
) -> list[tuple[WeightSpan, int]]:
    """Draw bits over all spans alike; a bit counts from the start of its span."""
    ends = np.cumsum([span.bits for span in spans])
    drawn = rng.integers(0, ends[-1], count)
    which = np.searchsorted(ends, drawn, side="right")
    return [
        (spans[k], int(bit - ends[k] + spans[k].bits)) for k, bit in zip(which, drawn, strict=True)
    ]


def _place(span: WeightSpan, bit: int) -> tuple[int, int]:
    return span.start + bit // 8, bit % 8


def _single(part: Part, span: WeightSpan, bit: int) -> Flip:
    # Little-endian: the byte's place in its number, and the bit's in its byte, count up alike.
    return Flip(part, (_place(span, bit),), span.layer, bit % (8 * span.item_bytes))
