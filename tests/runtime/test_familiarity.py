"""Out of distribution: the score, what it needs, and where it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rille.bundle import load_bundle
from rille.bundle.json_schema import manifest_schema
from rille.bundle.manifest import FEATURES, Familiarity, parse_manifest
from rille.draw import annotate, canvas_size
from rille.errors import InferenceError, ManifestError, OutputStuckError
from rille.events import EventLog
from rille.familiarity import FamiliarityCheck
from rille.metrics import area_under_roc
from rille.network import Network
from rille.pipeline.unfamiliar import UnfamiliarWatch
from rille.postprocess.guard import OutputGuard
from rille.recording.topics import RESULT_SCHEMA
from rille.report.collect import RunRecord
from rille.result import Classification, Result
from rille.sinks.metrics_text import sample
from rille.sinks.packets import decode_packet, result_packet
from rille.sinks.prometheus import PrometheusEndpoint
from rille.sinks.udp import fitted
from rille.tensor import TensorSpec

Make = Callable[..., Result]
SPEC = TensorSpec(shape=(1, 64), dtype="int8", scale=0.02, zero_point=-128)


def known(doubt: float | None = None) -> tuple[Familiarity, bytes]:
    """Return a subspace of three directions around a mean, in 64 numbers."""
    rng = np.random.default_rng(5)
    directions, _ = np.linalg.qr(rng.normal(size=(64, 3)))
    rows = np.concatenate([np.full((1, 64), 0.125), directions.T])
    steps = np.abs(rows).max(axis=1) / 32767
    content = np.rint(rows / steps[:, None]).astype("<i2").tobytes()
    shape = Familiarity(
        file="familiarity.bin",
        numbers=64,
        steps=tuple(float(step) for step in steps),
        strangeness=0.05,
        doubt=doubt,
    )
    return shape, content


def stored(real: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return SPEC.quantize(real.astype(np.float32))[None]


def test_the_distance_is_that_of_plain_algebra() -> None:
    shape, content = known()
    rows = np.frombuffer(content, "<i2").reshape(4, 64) * np.array(shape.steps)[:, None]
    rng = np.random.default_rng(1)
    check = FamiliarityCheck(shape, content, SPEC)
    for _ in range(20):
        x = stored(rng.uniform(0, 4, 64))
        unit = SPEC.dequantize(x)[0].astype(np.float64)
        away = unit / np.linalg.norm(unit) - rows[0]
        expected = away @ away - ((rows[1:] @ away) ** 2).sum()
        assert check.strangeness(x) == pytest.approx(expected, abs=1e-6)
        assert check(x, 0.5) == pytest.approx(expected / 0.05, abs=1e-4)


def test_near_the_subspace_is_familiar_and_noise_is_not() -> None:
    shape, content = known()
    rows = np.frombuffer(content, "<i2").reshape(4, 64) * np.array(shape.steps)[:, None]
    check = FamiliarityCheck(shape, content, SPEC)
    rng = np.random.default_rng(2)
    like = [rows[0] + 0.15 * rng.normal(size=3) @ rows[1:] for _ in range(20)]
    assert max(check(stored(np.clip(10 * x, 0, 5)), 0.5) for x in like) < 1
    assert min(check(stored(rng.exponential(1, 64)), 0.5) for _ in range(20)) > 1
    nothing = np.full((1, 64), -128, np.int8)
    assert np.isfinite(check(nothing, 0.5)) and check(nothing, 0.5) > 1


def test_the_scale_of_the_features_does_not_matter() -> None:
    shape, content = known()
    real = np.random.default_rng(3).uniform(0, 4, 64).astype(np.float32)
    plain = FamiliarityCheck(shape, content, TensorSpec(shape=(1, 64)))
    once, fourfold = plain(real[None], 0.5), plain(4 * real[None], 0.5)
    assert once == pytest.approx(fourfold, rel=1e-9)
    assert FamiliarityCheck(shape, content, SPEC)(stored(real), 0.5) == pytest.approx(once, rel=0.1)


def test_sums_of_an_integer_network_do_not_depend_on_their_order() -> None:
    """So that every machine gives the same score to the bit."""
    shape, content = known()
    turned = np.frombuffer(content, "<i2").reshape(4, 64)[:, ::-1].tobytes()
    rng = np.random.default_rng(4)
    ahead, back = FamiliarityCheck(shape, content, SPEC), FamiliarityCheck(shape, turned, SPEC)
    for _ in range(50):
        x = rng.integers(-128, 128, (1, 64)).astype(np.int8)
        assert ahead(x, 0.5) == back(x[:, ::-1], 0.5)


def test_doubt_counts_where_it_is_larger() -> None:
    shape, content = known(doubt=0.2)
    x = stored(np.full(64, 1.0))
    check = FamiliarityCheck(shape, content, SPEC)
    assert check(x, 1.0) < 1 and check(x, 0.5) == pytest.approx(2.5)
    assert FamiliarityCheck(*known(), SPEC)(x, 0.5) < 1


def test_features_that_are_no_numbers_are_refused() -> None:
    check = FamiliarityCheck(*known(), TensorSpec(shape=(1, 64)))
    for wrong in (np.nan, np.inf):
        with pytest.raises(InferenceError, match="feature that is not a finite number"):
            check(np.full((1, 64), wrong, np.float32), 0.5)


def test_a_stuck_answer_is_refused_although_features_change() -> None:
    guard = OutputGuard()
    rng = np.random.default_rng(6)
    pixels = np.zeros((24, 32), np.uint8)
    moving = rng.integers(0, 9, (1, 64)).astype(np.int8)
    outputs = {"logits": np.full((1, 4), 3, np.int8), FEATURES: moving}
    with pytest.raises(OutputStuckError, match="one and the same number"):
        guard(outputs, pixels)


def section(**more: Any) -> dict[str, Any]:
    row = {"file": "golden.0.png", "numbers": 1280, "steps": [0.1], "strangeness": 0.4}
    return {**row, **more}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (section(file="absent.bin"), "'absent.bin' is not among the files"),
        (section(), r"golden.0.png has \d+ bytes, 1 rows of 1280 numbers need 2560"),
        (section(strangeness=0), "strangeness must be above 0"),
        (section(steps=[]), "steps needs 1 to 257 numbers"),
        (section(steps=[0.1, -1]), "steps needs 1 to 257 numbers above 0"),
        (section(numbers=10**9), "numbers must be from 1 to 16384"),
        (section(doubt=2), "doubt must be above 0 and at most 1"),
        (section(name="x"), "has no key 'name'"),
    ],
)
def test_a_manifest_that_contradicts_itself(wrong: dict[str, Any], words: str) -> None:
    table = json.loads(load_bundle("mars-msl24").text)
    table["familiarity"] = wrong
    with pytest.raises(ManifestError, match=words):
        parse_manifest(json.dumps(table).encode(), "test")


def test_what_is_left_out_is_left_out_of_the_file_too() -> None:
    """As the schema wants it: no null stands anywhere."""
    jsonschema = pytest.importorskip("jsonschema", reason="the test group is not installed")
    table = json.loads(load_bundle("mars-msl24").text)
    table["familiarity"] = section(file="familiarity.bin")
    table["files"]["familiarity.bin"] = {"bytes": 2560, "sha256": "0" * 64}
    for more in ({}, {"doubt": 0.2}):
        table["familiarity"].update(more)
        written = json.loads(parse_manifest(json.dumps(table).encode(), "test").to_json())
        jsonschema.Draft202012Validator(manifest_schema()).validate(written)
        assert written["familiarity"] == table["familiarity"]


def test_masks_have_no_familiarity() -> None:
    table = json.loads(load_bundle("moon-craters").text)
    table["familiarity"] = section()
    with pytest.raises(ManifestError, match="is for classifiers"):
        parse_manifest(json.dumps(table).encode(), "test")


def test_a_bundle_without_says_nothing(spoil: Callable[..., Path]) -> None:
    def without(table: dict[str, Any]) -> None:
        table.pop("familiarity", None)
        for variant in table["variants"].values():
            variant["outputs"].pop(FEATURES, None)
            variant["golden"].pop(FEATURES, None)

    bundle = load_bundle(spoil(manifest=without))
    assert "familiarity" not in json.loads(bundle.manifest.to_json())
    network = Network.load(bundle)
    network.self_test()
    answer, _ = network.run(np.zeros((32, 48, 3), np.uint8))
    assert isinstance(answer, Classification) and not network.scores_familiarity
    assert answer.ood_score is None and not answer.out_of_distribution


def scored(result: Make, score: float | None, index: int = 0, **more: Any) -> Result:
    answer = result().classification
    assert answer is not None
    return result(index, classification=replace(answer, ood_score=score), **more)


def test_an_event_tells_of_its_beginning_and_its_end(result: Make) -> None:
    events = EventLog()
    watch = UnfamiliarWatch(events)

    def see(score: float | None, count: int) -> None:
        for k in range(count):
            watch(k, scored(result, score).classification)

    see(None, 40)
    see(0.4, 40)
    for _ in range(10):  # now and then one, as must be expected
        see(1.5, 2)
        see(0.4, 8)
    assert not events.counts
    see(2.0, 40)
    see(0.3, 10)  # a glimpse is no end
    watch(0, None)
    assert dict(events.counts) == {"SCENE_UNFAMILIAR": 1}
    assert "15 of the last 20" in events.recent[0].text and "score 2.00" in events.recent[0].text
    see(0.3, 20)
    assert dict(events.counts) == {"SCENE_UNFAMILIAR": 1, "SCENE_FAMILIAR": 1}


def test_it_is_told_everywhere(result: Make) -> None:
    strange, fine, mute = (scored(result, score) for score in (2.34567, 0.5, None))
    said = strange.to_json()["classification"]
    assert said["ood_score"] == 2.3457 and said["out_of_distribution"] is True
    assert fine.to_json()["classification"]["out_of_distribution"] is False
    assert "ood_score" not in mute.to_json()["classification"]
    assert json.loads(fitted(strange.to_json()))["classification"]["ood_score"] == 2.3457
    jsonschema = pytest.importorskip("jsonschema", reason="the test group is not installed")
    for one in (strange, fine, mute):
        jsonschema.Draft202012Validator(RESULT_SCHEMA).validate(one.to_json())
    record = RunRecord()
    for one in (strange, fine, mute):
        record.write(one)
    assert record.unfamiliar == 1
    size = canvas_size(160, 120)
    assert (annotate(strange, size) != annotate(fine, size)).any()


def test_a_packet_carries_the_score_behind_everything_else(result: Make) -> None:
    pytest.importorskip("spacepackets", reason="the test group is not installed")
    mute = result_packet(scored(result, None), 100, 0)
    for score, steps in ((0.0, 0), (0.5, 500), (1.0, 1000), (1.0001, 1001), (99.0, 65535)):
        data = result_packet(scored(result, score), 100, 0)
        assert len(data) == len(mute) + 2
        answer = decode_packet(data).record["classification"]
        assert answer["ood_score"] == steps / 1000
        assert answer["out_of_distribution"] is (score > 1)
    assert "ood_score" not in decode_packet(mute).record["classification"]


def test_frames_are_counted_for_prometheus(result: Make) -> None:
    endpoint = PrometheusEndpoint("127.0.0.1", 0)
    try:
        name = "rille_out_of_distribution_frames_total"
        endpoint.write(scored(result, None))
        assert sample(name, {}, 0) not in endpoint.text().splitlines()
        for score in (0.5, 1.5, 3.0):
            endpoint.write(scored(result, score))
        assert sample(name, {}, 2) in endpoint.text().splitlines()
    finally:
        endpoint.close()


def test_the_area_under_the_curve() -> None:
    assert area_under_roc([0, 1, 2], [3, 4]) == 1.0
    assert area_under_roc([3, 4], [0, 1]) == 0.0
    assert area_under_roc([1, 1], [1]) == 0.5
    inside, outside = np.random.default_rng(0).normal(size=(2, 60))
    plain = np.mean([(o > i) + 0.5 * (o == i) for i in inside for o in outside])
    assert area_under_roc(inside.tolist(), outside.tolist()) == pytest.approx(plain)
