"""Networks whose digest nobody vouches for: loaded and run in a child that may die."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tests.fuzz.mutate import spoilt
from tests.fuzz.target import Target

from rille.backends import open_backend
from rille.bundle import load_bundle
from rille.seu.flatbuffer import weight_spans

_BUNDLE = "moon-craters"


def _corpus(folder: Path) -> Sequence[bytes]:
    bundle = load_bundle(_BUNDLE)
    _, form = bundle.variant()
    return [bundle.files[form.file]]


def _load(folder: Path) -> Callable[[bytes], None]:
    _, form = load_bundle(_BUNDLE).variant()
    zeros = np.zeros(form.input.shape, form.input.numpy_dtype)

    def feed(data: bytes) -> None:
        engine = open_backend(data, form, threads=1)
        engine.infer(zeros)
        engine.close()

    return feed


def structure_spoilt(corpus: Sequence[bytes], dice: random.Random) -> bytes:
    """Return a network with damage, mostly where it says what it is made of, not in its weights."""
    if dice.random() < 0.3:
        return spoilt(corpus, dice)
    data = bytearray(corpus[0])
    places = _structure(corpus[0])
    for _ in range(dice.choice((1, 1, 2, 8))):
        at = dice.choice(places)
        data[at] ^= 1 << dice.randrange(8)
    return bytes(data)


@functools.cache
def _structure(model: bytes) -> list[int]:
    """Return the places of a network's bytes that are no weights."""
    structure = np.ones(len(model), bool)
    for span in weight_spans(model):
        structure[span.start : span.end] = False
    return [int(place) for place in np.flatnonzero(structure)]


MODELS = [
    Target(
        name="model",
        corpus=_corpus,
        prepare=_load,
        spoil=structure_spoilt,
        share=10,
        sacrificial=True,
    ),
]
