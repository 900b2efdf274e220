"""Events: severities, repeats held back, exact counts."""

from __future__ import annotations

import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rille.events import KINDS, Event, EventLog, Severity


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


def test_numbers_are_unique() -> None:
    assert len({kind.number for kind in KINDS.values()}) == len(KINDS)


def test_repeats_are_held_back_and_told_of_in_the_next() -> None:
    clock = Hand()
    log = EventLog(burst=3, every_s=2.0, clock=clock)
    heard: list[Event] = []
    log.listen(heard.append)
    for k in range(10):
        log.emit("FRAME_LATE", "late", frame=k)
    assert [event.values["frame"] for event in heard] == [0, 1, 2]
    clock.now += 2_000_000_000
    again = log.emit("FRAME_LATE", "late", frame=10)
    assert again is not None and again.held_back == 7 and again.serial == 10
    assert log.emit("FRAME_LATE", "late", frame=11) is None
    assert log.emit("SOURCE_STALLED", "silent") is not None  # another id has its own measure
    assert log.counts == {"FRAME_LATE": 12, "SOURCE_STALLED": 1}


def test_fatal_is_never_held_back() -> None:
    log = EventLog(burst=1, every_s=1e6)
    assert all(log.emit("SAFE_MODE", "stopped") for _ in range(20))


def test_an_unknown_id_is_a_fault() -> None:
    with pytest.raises(KeyError):
        EventLog().emit("NO_SUCH", "")


def test_json_is_plain() -> None:
    event = EventLog().emit("LEVEL_LOWERED", "full to classify-only", frame=3, reason="late")
    assert event is not None
    table = json.loads(json.dumps(event.to_json()))
    assert table["severity"] == Severity.WARNING_LO.value and table["values"]["frame"] == 3
    assert event.number == 30


@given(st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.integers(0, 3_000_000_000))))
def test_what_is_let_through_and_held_back_adds_up(steps: list[tuple[str, int]]) -> None:
    clock = Hand()
    log = EventLog(burst=2, clock=clock)
    for name, pause in steps:
        clock.now += pause
        log.emit(name, "x")
    told = sum(1 + event.held_back for event in log.recent)
    pending = sum(log._held_back.values())
    assert told + pending == len(steps) == sum(log.counts.values())
    serials = [event.serial for event in log.recent]
    assert serials == sorted(set(serials))


def test_many_threads_lose_nothing() -> None:
    log = EventLog(burst=10**6)
    threads = [
        threading.Thread(target=lambda: [log.emit("FRAME_LATE", "x") for _ in range(500)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.counts["FRAME_LATE"] == 4000
    assert sorted(e.serial for e in log.recent)[-1] == 3999
