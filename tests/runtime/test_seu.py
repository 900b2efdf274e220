"""Bits flipped on purpose, and what is measured of it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rille.bundle import Bundle, load_bundle
from rille.errors import BundleError, ConfigError, SourceError
from rille.images import decode_image
from rille.network import Network
from rille.result import Classification
from rille.seu.campaign import Subject, outcomes
from rille.seu.defence import golden_frames, scrub_frames
from rille.seu.flatbuffer import weight_spans
from rille.seu.flips import Flip, Part, over_all, over_doses, over_layers, over_structure
from rille.seu.measure import share
from rille.seu.trial import Outcome, Trial
from rille.seu.twin import NAME, with_twin


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle("mars-msl24")


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> bytes:
    return bundle.files["model.int8.tflite"]


@pytest.fixture(scope="module")
def pictures(descent: Any) -> tuple[Any, ...]:
    return tuple(descent.frame(k)[0] for k in (0, 9, 18))


def test_the_weights_are_where_the_interpreter_finds_them(model: bytes) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    there = {d["name"]: d["index"] for d in interpreter.get_tensor_details()}
    spans = weight_spans(model)
    assert len(spans) > 50 and {span.dtype for span in spans} == {"int8", "int32"}
    for span in spans[:40]:
        values = interpreter.get_tensor(there[span.name])
        assert values.tobytes() == model[span.start : span.end]
        assert span.item_bytes == values.dtype.itemsize
    assert sum(span.end - span.start for span in spans) > 0.8 * len(model)
    ends = sorted((span.start, span.end) for span in spans)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(ends))


def test_flips_are_seeded_and_where_they_belong(model: bytes) -> None:
    spans = weight_spans(model)
    inside = np.zeros(len(model), bool)
    for span in spans:
        inside[span.start : span.end] = True
    flips = over_all(spans, 300, 7)
    assert flips == over_all(spans, 300, 7) != over_all(spans, 300, 8)
    assert all(inside[byte] for flip in flips for byte, _ in flip.places)
    layers = over_layers(spans, 2, 7)
    assert len(layers) == 2 * len({span.layer for span in spans})
    (dose,) = over_doses(spans, (50,), 1, 7)
    assert len(dose.places) == 50
    for flip in over_structure(spans, len(model), 100, 7):
        assert not inside[flip.places[0][0]]
    byte, bit = flips[0].places[0]
    spoilt = flips[0].apply(model)
    assert spoilt[byte] == model[byte] ^ (1 << bit) and len(spoilt) == len(model)
    assert flips[0].apply(spoilt) == model


def test_the_clean_network_is_the_same_and_a_spoilt_one_is_not(
    bundle: Bundle, model: bytes, pictures: tuple[Any, ...]
) -> None:
    trial = Trial(bundle, "tflite-int8", pictures)
    clean = trial.run(model)
    assert clean == Outcome(outvoted=0)
    last = weight_spans(model)[-1]  # the bias of the logits: every answer turns to one class
    places = tuple((byte, 6) for byte in range(last.start + 3, last.start + 4))
    spoilt = trial.run(Flip(Part.ALL, places).apply(model))
    assert spoilt.numbers == len(pictures) and spoilt.golden and spoilt.answers > 0
    assert spoilt.silent <= spoilt.answers
    assert trial.run(model[: len(model) // 2]).ended == "refused"


def test_a_child_that_dies_is_counted_and_the_others_go_on(
    pictures: tuple[Any, ...], model: bytes
) -> None:
    """Zeroes where the file says what it is made of: some of them end the process."""
    flips = [
        Flip(Part.STRUCTURE, ()),
        Flip(Part.STRUCTURE, tuple((byte, bit) for byte in range(4) for bit in range(8))),
        Flip(Part.STRUCTURE, ()),
    ]
    subject = Subject(bundle="mars-msl24", variant="tflite-int8", pictures=pictures[:1])
    found = list(outcomes(subject, flips))
    assert len(found) == 3
    assert found[0] == found[2] == Outcome(outvoted=0)
    assert found[1].ended in ("refused", "crashed")


def test_when_defences_tell(bundle: Bundle, model: bytes) -> None:
    flips = over_all(weight_spans(model), 30, 1)
    size = 256 * 1024
    slices = sum(-(-len(data) // size) for data in bundle.files.values())
    told = scrub_frames(bundle, "model.int8.tflite", flips, size, 1)
    assert all(frames is not None and 1 <= frames <= slices for frames in told)
    rng = np.random.default_rng(0)
    for _ in range(50):
        frames = golden_frames(Outcome(golden=(2,)), 6, 250, rng)
        assert frames is not None and 1 <= frames <= 6 * 250
        assert golden_frames(Outcome(), 6, 250, rng) is None
        every = golden_frames(Outcome(golden=(0, 1, 2, 3, 4, 5)), 6, 250, rng)
        assert every is not None and every <= 250


def test_shares() -> None:
    none = share(0, 100)
    assert none["share"] == 0 and none["low"] == 0 and 0.03 < none["high"] < 0.04
    assert share(0, 0)["share"] is None


def test_the_command(
    rille: Callable[..., int], tmp_path: Path, image_folder: Path, capsys: Any
) -> None:
    words = ["seu", "mars-msl24", "--source", f"images://{image_folder}", "--frames", 2]
    words += ["--flips", 6, "--each-layer", 0, "--each-dose", 1, "--structure", 3, "--float"]
    assert rille(*words, "--out", tmp_path / "a") == 0
    assert "mars-msl24 tflite-int8" in capsys.readouterr().out
    first = json.loads((tmp_path / "a" / "seu.json").read_text())
    one, twin = first["networks"]
    assert (one["precision"], twin["precision"]) == ("int8", "fp32")
    assert one["layers"] == twin["layers"] and twin["weight_bits"] > 3 * one["weight_bits"]
    assert len(one["trials"]) == 6 + 4 + 3 and one["overall"]["silent"]["of"] == 6
    assert one["defences"]["checksums of the source"]["of_all"]["share"] == 1
    page = (tmp_path / "a" / "seu.html").read_text()
    assert "Who notices" in page and "<script" not in page


def test_the_float_twin_says_the_same(bundle: Bundle, tmp_path: Path) -> None:
    both = with_twin(bundle, tmp_path / "both")
    whole, floats = (Network.load(both, variant=name) for name in (None, NAME))
    assert floats.self_test() == 0
    span = floats._ranges.limits["logits"]
    for name in bundle.manifest.golden_images:
        pixels = decode_image(bundle.files[name], name)
        (a, _), (b, _) = whole.run(pixels), floats.run(pixels)
        assert isinstance(a, Classification) and isinstance(b, Classification)
        # Golden images are those on which labels are nearest to each other; logits are near.
        assert np.abs(a.logits - b.logits).max() < 0.02 * span
    with pytest.raises(BundleError, match="is no integer network"):
        variants = {NAME: both.manifest.variants[NAME]}
        with_twin(replace(both, manifest=replace(both.manifest, variants=variants)), tmp_path / "x")


def test_refusals(rille: Callable[..., int], image_folder: Path, capsys: Any) -> None:
    source = f"images://{image_folder}"
    assert rille("seu", "mars-msl24", "--flips", 0) == ConfigError.exit_code
    assert rille("seu", "mars-msl24", "--structure", -1) == ConfigError.exit_code
    assert rille("seu", "mars-msl24", "--source", source, "--frames", 99) == SourceError.exit_code
    assert "gives 6 frames" in capsys.readouterr().err
    assert rille("seu", "mars-msl24", "--source", source, "--frames", 1, "--variant", "x") == 4
    assert "no such TFLite network" in capsys.readouterr().err


def test_a_bundle_is_not_written_to(bundle: Bundle, model: bytes) -> None:
    files = dict(bundle.files)
    scrub_frames(replace(bundle, files=files), "model.int8.tflite", [], 4096, 0)
    assert files["model.int8.tflite"] is model
