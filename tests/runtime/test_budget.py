"""Prediction of costs, and the account that must always add up."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rille.budget import Account, Budget
from rille.cost import CostModel
from rille.errors import ConfigError
from rille.result import State


@pytest.mark.parametrize(
    "wrong",
    [
        {"frame_ms": 0.0},
        {"frame_ms": -5.0},
        {"frame_ms": float("nan")},
        {"frame_ms": float("inf")},
        {"quantile": 0.0},
        {"quantile": 1.5},
        {"margin_ms": -1.0},
        {"max_watt": -1.0},
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"budget.{next(iter(wrong))}"):
        Budget(**wrong)  # type: ignore[arg-type]


def test_the_prediction_is_a_high_quantile() -> None:
    model = CostModel(0.95)
    for cost in [10.0] * 60 + [30.0] * 4:
        model.record(cost, 100.0)
    assert model.predicted_ms == 30.0
    for cost in [10.0] * 3:
        model.record(cost, 100.0)
    assert CostModel(0.5).predicted_ms == 0.0


def test_what_does_not_fit_is_shed_and_tried_again_ever_more_rarely() -> None:
    model = CostModel(0.95, first_wait=4, longest_wait=64)
    model.record(50.0, 100.0)
    tried = []
    for frame in range(200):
        if model.admits(20.0):
            tried.append(frame)
            model.record(50.0, 20.0)
    gaps = [b - a for a, b in itertools.pairwise(tried)]
    assert tried[0] == 4
    assert gaps == sorted(gaps) and gaps[-1] <= 65
    assert len(tried) < 8


def test_full_work_returns_when_the_load_goes() -> None:
    model = CostModel(0.95, first_wait=4)
    for _ in range(64):
        model.record(80.0, 100.0)
    admitted = 0
    for _ in range(20):
        if model.admits(40.0):
            admitted += 1
            model.record(10.0, 40.0)
    assert admitted >= 15


def test_nothing_starts_after_the_deadline() -> None:
    model = CostModel(0.95)
    assert not model.admits(0.0)
    assert not model.admits(-3.0)
    assert model.admits(1e-9)


@given(st.lists(st.sampled_from(list(State)), max_size=50), st.integers(0, 20))
def test_the_account_adds_up(ends: list[State], waiting: int) -> None:
    account = Account()
    for _ in range(len(ends) + waiting):
        account.capture()
    for state in ends:
        account.end(state, "superseded" if state is State.DROPPED else None)
    t = account.totals()
    assert t.captured == t.ok + t.late + t.dropped + t.failed + t.in_flight
    assert t.in_flight == waiting
    assert sum(t.causes.values()) == t.dropped
    assert f"{t.captured} captured" in str(t)


def test_a_frame_cannot_end_twice() -> None:
    account = Account()
    account.capture()
    account.end(State.OK)
    with pytest.raises(RuntimeError, match="ended twice"):
        account.end(State.OK)
