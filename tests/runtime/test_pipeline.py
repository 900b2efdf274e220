"""Every captured frame ends in exactly one state, whatever cameras and engines do."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import PIXELS, ScriptedCamera, check_account, network

from rille.budget import Budget
from rille.bundle import Bundle
from rille.errors import ConfigError, SourceError
from rille.frame import Frame
from rille.pipeline import Pipeline
from rille.result import State
from rille.sources import open_source

small = st.floats(0, 4)


@given(
    gaps=st.lists(small, min_size=1, max_size=14),
    classify=st.lists(small, min_size=1, max_size=5),
    segment=st.lists(small, min_size=1, max_size=5),
    fails=st.lists(st.booleans(), min_size=1, max_size=5),
    damaged=st.lists(st.booleans(), min_size=1, max_size=5),
    budget_ms=st.floats(0.2, 12),
    realtime=st.booleans(),
    stop_after=st.integers(0, 20),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_captured_is_ok_plus_late_plus_dropped_plus_failed(
    gaps: list[float],
    classify: list[float],
    segment: list[float],
    fails: list[bool],
    damaged: list[bool],
    budget_ms: float,
    realtime: bool,
    stop_after: int,
) -> None:
    pipeline = Pipeline(
        classify=network("classification", classify, fails),
        segment=network("segmentation", segment),
        budget=Budget(frame_ms=budget_ms),
    )
    camera = ScriptedCamera(gaps, damaged, realtime)
    states: Counter[State] = Counter()
    indices = []
    for result in pipeline.stream(camera, losses=True):
        states[result.state] += 1
        indices.append(result.index)
        if result.state is State.OK:
            assert result.age_ms <= budget_ms
        if result.state is State.LATE:
            assert result.age_ms > budget_ms
        assert (result.cause is not None) == (result.state is State.DROPPED)
        assert (result.error is not None) == (result.state is State.FAILED)
        if len(indices) == stop_after:
            pipeline.stop()
    totals = pipeline.stats.totals
    check_account(pipeline, totals.captured)
    assert states == Counter(
        {s: getattr(totals, s.value) for s in State if getattr(totals, s.value)}
    )
    # Each captured frame was yielded exactly once, and none was invented.
    assert sorted(indices) == list(range(totals.captured))
    if not stop_after or stop_after > len(gaps):
        assert totals.captured == len(gaps)
    if not realtime:
        assert set(totals.causes) <= {"expired"}


def test_a_slow_pipeline_drops_old_frames_and_its_lag_does_not_grow() -> None:
    pipeline = Pipeline(segment=network("segmentation", [12.0]), budget=Budget(frame_ms=1000))
    ages = []
    for result in pipeline.stream(ScriptedCamera([3.0] * 80, [False]), losses=True):
        if result.published:
            ages.append(result.age_ms)
    check_account(pipeline, 80)
    assert pipeline.stats.totals.causes["superseded"] > 30
    assert np.median(ages[-5:]) < np.median(ages[:5]) + 15


def test_a_recording_is_never_dropped() -> None:
    pipeline = Pipeline(segment=network("segmentation", [3.0]), budget=Budget(frame_ms=1000))
    results = list(pipeline.stream(ScriptedCamera([0.0] * 20, [False], realtime=False)))
    assert [r.index for r in results] == list(range(20))
    check_account(pipeline, 20)


def test_segmentation_is_shed_where_it_does_not_fit_and_classification_stays() -> None:
    # So wide a budget that a busy machine cannot keep the classifier from fitting.
    pipeline = Pipeline(
        classify=network("classification", [1.0]),
        segment=network("segmentation", [200.0]),
        budget=Budget(frame_ms=120),
    )
    results = [
        pipeline.run(Frame(pixels=PIXELS, index=k, captured_ns=time.monotonic_ns()))
        for k in range(30)
    ]
    assert all(r.classification is not None for r in results)
    shed = [r for r in results if r.shed == ("segment",)]
    assert len(shed) >= 26
    assert all(r.segmentation is None and r.level == "classify-only" for r in shed)
    assert pipeline.stats.totals.shed["segment"] == len(shed)
    assert pipeline.stats.change_count >= 1
    check_account(pipeline, 30)


def test_a_budget_nothing_fits_leaves_capture_only() -> None:
    pipeline = Pipeline(segment=network("segmentation", [10.0]), budget=Budget(frame_ms=2.0))
    results = [
        pipeline.run(Frame(pixels=PIXELS, index=k, captured_ns=time.monotonic_ns()))
        for k in range(8)
    ]
    assert results[0].state is State.LATE
    assert {r.level for r in results[1:]} == {"capture-only"}


def test_a_frame_that_is_already_too_old_is_not_worked_on() -> None:
    pipeline = Pipeline(segment=network("segmentation", [0.1]), budget=Budget(frame_ms=5))
    old = Frame(pixels=PIXELS, index=0, captured_ns=time.monotonic_ns() - 10_000_000)
    result = pipeline.run(old)
    assert (result.state, result.cause) == (State.DROPPED, "expired")


def test_a_failing_network_fails_the_frame_and_keeps_the_other_answer() -> None:
    pipeline = Pipeline(
        classify=network("classification", [0.1]),
        segment=network("segmentation", [0.1], [True]),
        budget=Budget(frame_ms=1000),
    )
    result = pipeline.run(Frame(pixels=PIXELS, index=0, captured_ns=time.monotonic_ns()))
    assert result.state is State.FAILED and not result.published
    assert result.error == "segment: scripted failure"
    assert result.classification is not None
    check_account(pipeline, 1)


class DyingCamera(ScriptedCamera):
    """Stands in for a camera whose cable is pulled after three frames."""

    death: Exception = SourceError("scripted://: the camera is gone")

    def _next(self) -> Any:
        if self.index == 3:
            raise self.death
        return super()._next()


@pytest.mark.parametrize("realtime", [True, False])
@pytest.mark.parametrize("death", [DyingCamera.death, RuntimeError("a fault in a driver")])
def test_a_camera_that_dies_ends_the_stream_and_the_account_is_exact(
    realtime: bool, death: Exception
) -> None:
    pipeline = Pipeline(segment=network("segmentation", [0.1]), budget=Budget(frame_ms=1000))
    camera = DyingCamera([2.0] * 10, [False], realtime)
    camera.death = death
    got = []
    with pytest.raises(type(death), match=str(death)):
        for result in pipeline.stream(camera, losses=True):
            got.append(result.index)
    assert sorted(got) == [0, 1, 2]
    check_account(pipeline, 3)
    assert "rille-capture" not in [t.name for t in threading.enumerate()]


def test_a_camera_that_sends_nonsense_costs_a_frame() -> None:
    class OddCamera(ScriptedCamera):
        """Stands in for a camera that once sends a frame of another type."""

        def _next(self) -> Any:
            found = super()._next()
            if found is not None and self.index == 2:
                return PIXELS.astype(np.float32), *found[1:]
            return found

    pipeline = Pipeline(segment=network("segmentation", [0.1]), budget=Budget(frame_ms=1000))
    camera = OddCamera([0.0] * 5, [False], realtime=False)
    results = list(pipeline.stream(camera, losses=True))
    assert [r.index for r in results] == [0, 1, 2, 3, 4]
    assert results[2].state is State.FAILED and "float32" in str(results[2].error)
    check_account(pipeline, 5)


def test_leaving_the_loop_early_accounts_for_what_is_in_hand() -> None:
    pipeline = Pipeline(segment=network("segmentation", [5.0]), budget=Budget(frame_ms=1000))
    stream = pipeline.stream(ScriptedCamera([1.0] * 50, [False]), losses=True)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    totals = pipeline.stats.totals
    check_account(pipeline, totals.captured)
    assert totals.captured >= 1


def test_an_interrupt_inside_a_stage_still_accounts_for_the_frame() -> None:
    pipeline = Pipeline(segment=network("segmentation", [0.0]), budget=Budget(frame_ms=1000))

    def interrupted(*given: Any) -> Any:
        raise KeyboardInterrupt

    pipeline.networks["segment"].answer = interrupted  # type: ignore[assignment,method-assign]
    with pytest.raises(KeyboardInterrupt):
        list(pipeline.stream(ScriptedCamera([0.0] * 3, [False], realtime=False)))
    check_account(pipeline, 1)
    assert pipeline.stats.totals.causes == {"shutdown": 1}


def test_bundles_of_the_wrong_task_are_refused(mars_bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="does classification, not segmentation"):
        Pipeline(segment=mars_bundle)
    with pytest.raises(ConfigError, match="needs a bundle"):
        Pipeline()


@pytest.fixture
def both(mars_bundle: Bundle, craters_bundle: Bundle) -> Iterator[Pipeline]:
    with Pipeline(
        classify=mars_bundle, segment=craters_bundle, budget=Budget(frame_ms=2000)
    ) as pipeline:
        yield pipeline


def test_the_real_networks_on_the_simulator(both: Pipeline) -> None:
    with open_source("sim://moon?frames=4&size=320x240&realtime=0") as camera:
        results = list(both.stream(camera))
    assert len(results) == 4
    for result in results:
        assert result.state is State.OK and result.level == "full"
        assert result.classification is not None and result.segmentation is not None
        assert set(result.bundles) == {"classify", "segment"}
        for feature in result.features:
            assert 0 <= feature.score <= 1
            assert -1 <= feature.ellipse.x <= 320 and -1 <= feature.ellipse.y <= 240
    assert "capture to publication" in str(both.stats)


def test_results_do_not_depend_on_what_came_before(both: Pipeline) -> None:
    """No cache: the same frame gives the same answer, and another frame another one."""
    with open_source("sim://moon?frames=2&size=320x240&realtime=0") as camera:
        one, two = list(camera)
    first = [both.run(_again(f)) for f in (one, two, one)]
    assert first[0].to_json()["segmentation"] == first[2].to_json()["segmentation"]
    assert first[0].to_json()["classification"] == first[2].to_json()["classification"]
    a, b = first[0].classification, first[1].classification
    assert a is not None and b is not None
    assert not np.array_equal(a.probabilities, b.probabilities)


def _again(frame: Frame) -> Frame:
    return Frame(pixels=frame.pixels, index=frame.index, captured_ns=time.monotonic_ns())


def test_steady_state_keeps_its_threads(both: Pipeline, descent: Any) -> None:
    pixels: Callable[[int], Any] = lambda k: descent.frame(k % 4)[0]  # noqa: E731
    both.run(Frame(pixels=pixels(0), index=0, captured_ns=time.monotonic_ns()))
    before = threading.active_count()
    for k in range(1, 20):
        both.run(Frame(pixels=pixels(k), index=k, captured_ns=time.monotonic_ns()))
    assert threading.active_count() == before
