"""Operating levels and costs: what lowers them, what brings full work back, and how fast."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rille.cost import CostModel
from rille.frame import Frame
from rille.levels import ORDER, LevelController, Period

SECOND = 1_000_000_000


def names(controller: LevelController, seconds: range, strained: bool, lost: int = 0) -> list[str]:
    """Ask ten times a second; return the levels, repeats left out."""
    found = [
        controller.decide(tenth * SECOND // 10, strained=strained, lost=lost).name
        for tenth in range(seconds.start * 10, seconds.stop * 10)
    ]
    return [name for name, _ in itertools.groupby(found)]


def test_strain_lowers_at_once_and_relief_raises_slowly() -> None:
    controller = LevelController(classify=True, segment=True)
    assert names(controller, range(5), False) == ["full"]
    down = ["segment-every-2", "segment-every-4", "classify-only"]
    assert names(controller, range(5, 60), True) == down
    assert controller.reason == "the board is strained"
    assert names(controller, range(69, 120), False)[-3:] == [
        "segment-every-4",
        "segment-every-2",
        "full",
    ]
    assert controller.reason == ""


def test_strain_never_takes_the_last_job_away() -> None:
    alone = LevelController(classify=False, segment=True)
    assert names(alone, range(100), True)[-1] == "segment-every-4"
    labels = LevelController(classify=True, segment=False)
    assert names(labels, range(100), True) == ["full"]


def test_lost_frames_count_only_where_asked_for() -> None:
    patient = LevelController(classify=True, segment=True)
    assert names(patient, range(10), False, lost=1) == ["full"]
    eager = LevelController(classify=True, segment=True, keep_up=True)
    assert names(eager, range(10), False, lost=1)[-1] == "classify-only"
    assert eager.reason == "frames got lost"


def test_rising_in_vain_makes_the_next_wait_longer() -> None:
    """Full work loses frames for ever: the controller must not try it every few seconds."""
    controller = LevelController(classify=True, segment=True, keep_up=True)
    level, tries = "full", []
    for tenth in range(6000):
        now = tenth * SECOND // 10
        before, level = (
            level,
            controller.decide(now, strained=False, lost=int(level == "full")).name,
        )
        if level == "full" and before != "full":
            tries.append(now / SECOND)
    waits = [b - a for a, b in itertools.pairwise(tries)]
    assert len(tries) >= 4 and max(waits[2:]) > 50 and waits[0] < 12


@given(
    st.lists(
        st.tuples(st.integers(0, 3 * SECOND), st.booleans(), st.integers(0, 20)), max_size=120
    ),
    st.booleans(),
    st.booleans(),
)
def test_levels_follow_from_their_inputs_alone(
    steps: list[tuple[int, bool, int]], segment: bool, keep_up: bool
) -> None:
    def run() -> list[str]:
        controller = LevelController(classify=True, segment=segment, keep_up=keep_up)
        now, found = 0, []
        for pause, strained, lost in steps:
            now += pause
            found.append(controller.decide(now, strained=strained, lost=lost).name)
        return found

    found = run()
    assert found == run() and set(found) <= set(ORDER)


def shed_model(cost_ms: float, left_ms: float) -> CostModel:
    model = CostModel(0.95)
    model.record(cost_ms, 1000.0)
    assert not model.admits(left_ms)
    return model


def test_two_probes_that_fit_bring_a_stage_back() -> None:
    model = shed_model(50.0, 20.0)
    model.probe(10.0)
    assert not model.admits(20.0)  # one may be luck
    model.probe(17.0)
    assert model.admits(20.0)
    model.record(12.0, 20.0)
    assert model.predicted_ms == 12.0  # the costs under load are forgotten


def test_probes_that_do_not_fit_change_nothing() -> None:
    model = shed_model(50.0, 20.0)
    for _ in range(5):
        model.probe(30.0)
        assert not model.admits(20.0)


def test_a_load_that_others_say_is_gone_brings_a_stage_back() -> None:
    model = shed_model(50.0, 20.0)
    assert not model.admits(20.0, ease=0.5)
    assert model.admits(20.0, ease=0.3)


def test_a_stage_at_the_edge_does_not_come_and_go() -> None:
    model = CostModel(0.95)
    model.record(19.0, 100.0)
    assert model.admits(19.5)
    assert not model.admits(18.5)
    assert not model.admits(19.5)  # shed once: needs more room to return
    assert model.admits(19.0 / 0.9 + 0.1)


def test_in_a_thousand_frames_trials_cost_few() -> None:
    model = shed_model(50.0, 20.0)
    tried = 0
    for _ in range(1000):
        if model.admits(20.0):
            tried += 1
            model.record(50.0, 20.0)
    assert 2 <= tried <= 5


def test_the_period_of_a_camera_that_loses_frames() -> None:
    period = Period()
    pixels = np.zeros((2, 2), np.uint8)
    assert period.left_ms(0) == 0.0
    for index in (0, 1, 2, 5, 6):
        period.see(Frame(pixels=pixels, index=index, captured_ns=index * SECOND // 10))
    assert period.left_ms(6 * SECOND // 10 + 30_000_000) == pytest.approx(70.0)
