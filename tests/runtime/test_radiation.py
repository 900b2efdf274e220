"""Bits that really flip in this process's memory: found, told of, and made good in flight."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rille.bundle import Bundle, install, load_bundle, write_bundle
from rille.bundle.restore import load_sound, restored
from rille.defences import Defences
from rille.errors import ConfigError, DigestError
from rille.events import EventLog
from rille.frame import Frame
from rille.network import Network
from rille.pipeline import Pipeline
from rille.postprocess.ranges import OutputRanges
from rille.postprocess.vote import LabelVote
from rille.radiation.scrub import Scrubber
from rille.result import Classification, State
from rille.site.slots import SLOTS
from rille.tensor import TensorSpec

MODEL = "model.int8.tflite"


def flip(content: bytes, at: int) -> None:
    """Flip a bit of bytes that Python calls immutable, as a particle would."""
    address = id(content) + bytes.__basicsize__ - 1 + at
    before = ctypes.c_ubyte.from_address(address)
    before.value ^= 0x10


def frames(pipeline: Pipeline, pictures: list[Any], until: Callable[[], bool], most: int) -> int:
    """Work on frames until something holds; return how many it took."""
    for index in range(most):
        pixels = pictures[index % len(pictures)]
        pipeline.run(Frame(pixels=pixels, index=index, captured_ns=time.monotonic_ns()))
        pipeline.worker.check_networks(busy=False)
        if until():
            return index + 1
    raise AssertionError(f"not within {most} frames: {dict(pipeline.events.counts)}")


@pytest.fixture
def site(tmp_path: Path, mars_bundle: Bundle) -> Path:
    """A folder with two versions of a bundle; the newer one flies."""
    newer = replace(mars_bundle.manifest, version="9.9.9")
    install(mars_bundle, tmp_path / "site", lambda slot: None)
    made = write_bundle(tmp_path / "newer", newer, mars_bundle.files)
    install(made, tmp_path / "site", lambda slot: None)
    return tmp_path / "site"


@pytest.fixture
def pictures(descent: Any) -> list[Any]:
    return [descent.frame(k)[0] for k in (0, 12)]


@pytest.fixture
def flying(site: Path) -> Iterator[Callable[..., Pipeline]]:
    """Return a function that opens a pipeline over the site."""
    opened: list[Pipeline] = []

    def fly(**defences: Any) -> Pipeline:
        network = Network.load(load_bundle(site))
        pipeline = Pipeline(classify=network, defences=Defences(**defences), check_every=0)
        opened.append(pipeline)
        return pipeline

    yield fly
    for pipeline in opened:
        pipeline.close()


def model_bytes(pipeline: Pipeline) -> bytes:
    bundle = pipeline.networks["classify"].bundle
    assert bundle is not None
    return bundle.files[MODEL]


def test_every_flip_is_found_within_one_pass(mars_bundle: Bundle) -> None:
    content = bytes(bytearray(mars_bundle.files[MODEL]))  # a copy that may be spoilt
    bundle = replace(mars_bundle, files={**mars_bundle.files, MODEL: content})
    scrubber = Scrubber({"classify": bundle}, 256 * 1024)
    assert scrubber.slices == sum(-(-len(b) // 262_144) for b in bundle.files.values())
    assert all(scrubber.step() is None for _ in range(scrubber.slices)) and scrubber.passes == 1
    for at in np.random.default_rng(4).integers(0, len(content), 40):
        flip(content, int(at))
        (found,) = [p for _ in range(scrubber.slices) if (p := scrubber.step()) is not None]
        assert found.file == MODEL and found.start <= at < found.end
        flip(content, int(at))
    assert not Scrubber({"classify": bundle}, 0).slices


def test_flipped_bytes_are_loaded_again(
    flying: Callable[..., Pipeline], pictures: list[Any]
) -> None:
    pipeline = flying(rebuild_s=0)
    spoilt = model_bytes(pipeline)
    before = pipeline.networks["classify"]
    flip(spoilt, 1_000_000)
    counts = pipeline.events.counts
    frames(pipeline, pictures, lambda: counts["NETWORK_RENEWED"] == 1, 2000)
    assert counts["WEIGHTS_FLIPPED"] == 1 and not counts["BUNDLE_FELL_BACK"]
    assert pipeline.networks["classify"] is before and model_bytes(pipeline) is not spoilt
    assert before.bundle is not None
    before.bundle.verify(MODEL)
    upkeep = pipeline.worker.upkeep
    frames(pipeline, pictures, lambda: upkeep.to_json()["passes"] == 1, 200)
    totals = pipeline.stats.totals
    assert counts["WEIGHTS_FLIPPED"] == 1 and totals.captured == totals.ok + totals.late


def test_the_other_slot_flies_where_the_disk_is_damaged_too(
    flying: Callable[..., Pipeline], site: Path, pictures: list[Any]
) -> None:
    pipeline = flying(rebuild_s=0)
    flip(model_bytes(pipeline), 777)
    (site / "b" / MODEL).write_bytes(b"rust")
    counts = pipeline.events.counts
    frames(pipeline, pictures, lambda: counts["BUNDLE_FELL_BACK"] == 1, 2000)
    frames(pipeline, pictures, lambda: True, 1)
    bundle = pipeline.networks["classify"].bundle
    assert bundle is not None and bundle.manifest.version == "0.1.0"
    totals = pipeline.stats.totals
    assert totals.captured == totals.ok + totals.late


def test_nothing_whole_is_left(
    flying: Callable[..., Pipeline], site: Path, pictures: list[Any]
) -> None:
    """What flies has a copy of its own, and goes on; it is told of once."""
    pipeline = flying(rebuild_s=0)
    flip(model_bytes(pipeline), 777)
    for slot in ("a", "b"):
        (site / slot / MODEL).write_bytes(b"rust")
    counts = pipeline.events.counts
    frames(pipeline, pictures, lambda: counts["WEIGHTS_LOST"] == 1, 2000)
    frames(pipeline, pictures, lambda: pipeline.stats.totals.captured % 50 == 0, 51)
    assert counts["WEIGHTS_FLIPPED"] == 1
    assert pipeline.networks["classify"].self_test() == 0


def test_engines_are_built_anew_beside_the_frames(
    flying: Callable[..., Pipeline], pictures: list[Any]
) -> None:
    pipeline = flying(rebuild_s=0.05)
    network = pipeline.networks["classify"]
    before = network.backend
    counts = pipeline.events.counts
    frames(pipeline, pictures, lambda: counts["NETWORK_RENEWED"] >= 2, 5000)
    assert pipeline.networks["classify"] is network and network.backend is not before
    totals = pipeline.stats.totals
    assert totals.captured == totals.ok + totals.late
    assert pipeline.worker.upkeep.to_json()["renewed"] >= 2


def test_bytes_that_flip_while_an_engine_is_made_of_them(
    flying: Callable[..., Pipeline], pictures: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were verified a moment before, so that it is the engine that does not come about."""
    pipeline = flying(rebuild_s=0.05)
    load, spoilt = Network.load, model_bytes(pipeline)

    def struck(bundle: Bundle, **how: Any) -> Network:
        monkeypatch.setattr(Network, "load", load)
        flip(spoilt, 4)
        return load(bundle, **how)

    monkeypatch.setattr(Network, "load", struck)
    counts = pipeline.events.counts
    frames(pipeline, pictures, lambda: counts["NETWORK_RENEWED"] >= 2, 5000)
    bundle = pipeline.networks["classify"].bundle
    assert not counts["WEIGHTS_LOST"] and bundle is not None
    bundle.verify(MODEL)


def test_a_wrong_answer_from_damaged_bytes_is_mended_too(
    flying: Callable[..., Pipeline], pictures: list[Any]
) -> None:
    """The golden image tells, the bytes in memory are damaged, those on disk are not."""
    pipeline = flying(rebuild_s=0, scrub_kb=0)
    pipeline.worker.upkeep.watch._every = 3
    network = pipeline.networks["classify"]
    flip(model_bytes(pipeline), 4096)
    network.backend = _Wrong(network.backend)
    counts = pipeline.events.counts
    frames(pipeline, pictures, lambda: counts["NETWORK_REBUILT"] == 1, 20)
    assert network.self_test() == 0


class _Wrong:
    """Stands in for an engine in whose weights a bit has flipped."""

    def __init__(self, real: Any) -> None:
        self._real, self.name, self.threads = real, real.name, real.threads

    def infer(self, tensor: Any) -> dict[str, Any]:
        return {role: values ^ 0x40 for role, values in self._real.infer(tensor).items()}

    def close(self) -> None:
        self._real.close()


def test_a_damaged_slot_at_the_start(
    site: Path, rille: Callable[..., int], image_folder: Path, tmp_path: Path, capsys: Any
) -> None:
    (site / "b" / MODEL).write_bytes(b"rust")
    bundle, why = load_sound(site)
    assert bundle.manifest.version == "0.1.0" and MODEL in why
    words = ["run", "--source", f"images://{image_folder}", "--out", tmp_path / "out"]
    words += ["--set", f"classify.bundle={site}", "--set", 'segment.bundle=""']
    words += ["--set", "output.video=false", "--set", "output.report=false"]
    assert rille(*words) == 0
    assert "the bundle that should is damaged" in capsys.readouterr().err
    assert "BUNDLE_FELL_BACK" in (tmp_path / "out" / "results.jsonl").read_text()
    (site / "a" / MODEL).write_bytes(b"rust")
    with pytest.raises(DigestError, match=MODEL):
        load_sound(site)


def test_a_bundle_without_slots_has_no_other(mars_bundle: Bundle, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "alone", mars_bundle.manifest, mars_bundle.files)
    assert restored(bundle).digest == bundle.digest
    assert load_sound(tmp_path / "alone")[1] == ""
    (tmp_path / "alone" / MODEL).write_bytes(b"rust")
    for attempt in (lambda: restored(bundle), lambda: load_sound(tmp_path / "alone")):
        with pytest.raises(DigestError):
            attempt()
    assert not (tmp_path / SLOTS).exists()


class _Loud:
    """Stands in for an engine of float32 in which an exponent bit has flipped."""

    name, threads = "loud", 1

    def __init__(self, value: float) -> None:
        self._value = value

    def infer(self, tensor: Any) -> dict[str, Any]:
        return {"logits": np.array([[self._value, *np.arange(23.0)]], np.float32)}

    def close(self) -> None:
        pass


def test_floats_beyond_what_the_integer_form_can_hold(
    mars_bundle: Bundle, pictures: list[Any]
) -> None:
    _, form = mars_bundle.variant()
    output = replace(form.outputs["logits"], tensor=TensorSpec(shape=(1, 24)))
    floats = replace(form, precision="fp32", outputs={"logits": output}, golden={})
    variants = {**mars_bundle.manifest.variants, "tflite-fp32": floats}
    bundle = replace(mars_bundle, manifest=replace(mars_bundle.manifest, variants=variants))
    spec = form.outputs["logits"].tensor
    (limit,) = OutputRanges.of(bundle, floats).limits.values()
    assert 4 * 128 * spec.scale <= limit <= 4 * 256 * spec.scale
    assert not OutputRanges.of(bundle, form).limits
    for value, fine in ((limit * 0.99, True), (1e30, False), (float("nan"), False)):
        network = Network(bundle.manifest, floats, _Loud(value), bundle)
        events = EventLog()
        with Pipeline(classify=network, events=events, check_every=0) as pipeline:
            frame = Frame(pixels=pictures[0], index=0, captured_ns=time.monotonic_ns())
            result = pipeline.run(frame)
        assert events.counts["OUTPUT_BEYOND"] == (0 if fine else 1)
        assert (result.state is State.FAILED) is not fine
    golden = OutputRanges.of(
        replace(bundle, manifest=replace(bundle.manifest, variants={"tflite-fp32": floats})), floats
    )
    assert not golden.limits


def answer(label: str, which: int, *, abstained: bool = False) -> Classification:
    probabilities = np.full(3, 0.1, np.float32)
    probabilities[which] = 0.8
    return Classification(
        label=label,
        label_id=which,
        probability=0.8,
        entropy=0.2,
        abstained=abstained,
        probabilities=probabilities,
    )


def test_a_label_stands_until_enough_answers_agree() -> None:
    vote = LabelVote(3, 5)
    said = [vote(answer("abcabbbb"[k], "abc".index("abcabbbb"[k]))) for k in range(8)]
    assert "".join(one.label for one in said) == "aaaaabbb"
    assert said[1].probability == pytest.approx(0.1) and said[1].label_id == 0
    unsure = answer("c", 2, abstained=True)
    assert vote(unsure) is unsure
    for needs, of in ((2, 4), (0, 1), (4, 3)):
        with pytest.raises(ValueError, match="votes"):
            LabelVote(needs, of)


def test_votes_in_a_stream(flying: Callable[..., Pipeline], pictures: list[Any]) -> None:
    pipeline = flying(vote_needs=2, vote_of=3)
    for index in range(4):
        frame = Frame(pixels=pictures[0], index=index, captured_ns=time.monotonic_ns())
        assert "outvoted" not in pipeline.run(frame).quality


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("scrub_kb=-1", "scrub_kb must be"),
        ("rebuild_s=1e9", "rebuild_s must be"),
        ("vote_of=5", "more than half"),
        ("vote_needs=2", "at most vote_of"),
        ("vote_of=-1", "vote_of must be"),
    ],
)
def test_settings(rille: Callable[..., int], capsys: Any, key: str, words: str) -> None:
    assert rille("run", "--set", f"radiation.{key}") == ConfigError.exit_code
    assert words in capsys.readouterr().err
