"""No sink delays a frame, and everything offered to one is accounted for exactly."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rille.errors import SinkError
from rille.events import Event, EventLog
from rille.frame import Frame
from rille.result import Result, State
from rille.sinks import trouble
from rille.sinks.base import Sink, SinkCounts
from rille.sinks.buffered import BufferedSink, without_pixels
from rille.sinks.fan import SinkFan

Make = Callable[..., Result]


class Probe(Sink):
    """Notes what it is given; waits, fails and takes its time as told."""

    takes_pixels = False

    def __init__(self, *, recovers: bool = False, takes_s: float = 0.0) -> None:
        self.recovers, self.takes_s = recovers, takes_s
        self.results: list[Result] = []
        self.events: list[Event] = []
        self.failing: Exception | None = None
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.closed = 0
        self.threads: set[str] = set()

    def write(self, result: Result) -> None:
        self._pass()
        self.results.append(result)

    def event(self, event: Event) -> None:
        self._pass()
        self.events.append(event)

    def close(self) -> None:
        self.threads.add(threading.current_thread().name)
        self.closed += 1

    def _pass(self) -> None:
        self.threads.add(threading.current_thread().name)
        self.entered.set()
        self.open.wait()
        time.sleep(self.takes_s)
        if self.failing is not None:
            raise self.failing


@pytest.fixture
def log() -> EventLog:
    return EventLog(burst=1000)


@pytest.fixture
def stuck() -> Iterator[Probe]:
    """A sink that does not return before the end of the test."""
    probe = Probe()
    probe.open.clear()
    yield probe
    probe.open.set()


def whole(counts: SinkCounts) -> bool:
    return counts.offered == (counts.written + counts.dropped + counts.failed + counts.waiting)


def until(holds: Callable[[], bool], limit_s: float = 20.0) -> None:
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.005)


def ids(log: EventLog) -> list[str]:
    return [event.id for event in log.recent]


def test_everything_in_order_in_one_thread(log: EventLog, result: Make) -> None:
    probe = Probe()
    sink = BufferedSink(probe, "probe", log)
    for k in range(100):
        sink.write(result(k))
    event = log.emit("RUN_ENDED", "over")
    assert event is not None
    sink.event(event)
    sink.close()
    assert [r.index for r in probe.results] == list(range(100)) and probe.events == [event]
    assert probe.threads == {"rille-sink probe"} and probe.closed == 1
    assert sink.counts == SinkCounts(offered=101, written=101, dropped=0, failed=0, waiting=0)
    sink.write(result(7))
    sink.close()
    assert sink.counts.offered == 101 and probe.closed == 1


def test_a_sink_that_never_returns_delays_nothing(
    log: EventLog, result: Make, stuck: Probe
) -> None:
    sink = BufferedSink(stuck, "stuck", log, depth=16)
    light = without_pixels(result())
    sink.put(light)
    assert stuck.entered.wait(10)
    spent = []
    for _ in range(3000):
        start = time.perf_counter_ns()
        sink.put(light)
        spent.append((time.perf_counter_ns() - start) / 1e3)
    # About 5 microseconds on an idle machine; a loaded one takes the core away now and then.
    assert np.median(spent) < 50
    counts = sink.counts
    assert counts.offered == 3001 and counts.waiting == 17 and counts.dropped == 2984
    start_s = time.monotonic()
    sink.close(timeout_s=0.2)
    assert time.monotonic() - start_s < 5
    assert sink.counts == SinkCounts(offered=3001, written=0, dropped=3001, failed=0, waiting=0)
    assert ids(log)[0] == "SINK_DROPPED" and ids(log)[-1] == "SINK_FAILED"
    assert "17 results and events were given up" in log.recent[-1].text
    stuck.open.set()
    until(lambda: stuck.closed == 1)  # its own thread closes it, once it returns
    assert sink.counts.written == 0


def test_the_oldest_make_room(log: EventLog, result: Make, stuck: Probe) -> None:
    sink = BufferedSink(stuck, "slow", log, depth=4)
    sink.write(result(0))
    assert stuck.entered.wait(10)
    for k in range(1, 20):
        sink.write(result(k))
    stuck.open.set()
    sink.close()
    assert [r.index for r in stuck.results] == [0, 16, 17, 18, 19]
    assert sink.counts == SinkCounts(offered=20, written=5, dropped=15, failed=0, waiting=0)


def test_drops_are_told_of_once_a_second(log: EventLog, result: Make, stuck: Probe) -> None:
    sink = BufferedSink(stuck, "slow", log, depth=1)
    for k in range(500):
        sink.write(result(k))
    assert ids(log) == ["SINK_DROPPED"]
    assert log.recent[0].values["sink"] == "slow" and log.recent[0].values["count"] >= 1
    stuck.open.set()
    sink.close()


def test_pixels_are_bounded_in_bytes(log: EventLog, stuck: Probe, result: Make) -> None:
    stuck.takes_pixels = True
    sink = BufferedSink(stuck, "video", log, max_pixel_bytes=10_000)
    sink.write(result(0))
    assert stuck.entered.wait(10)
    for k in range(1, 10):
        pixels = np.zeros((60, 60), np.uint8)  # two fit, three do not
        sink.write(result(k, frame=Frame(pixels=pixels, index=k, captured_ns=0)))
    assert sink.counts.waiting == 3 and sink.counts.dropped == 7
    huge = Frame(pixels=np.zeros((200, 200), np.uint8), index=99, captured_ns=0)
    sink.write(result(99, frame=huge))
    assert sink.counts.waiting == 2  # one frame always fits
    stuck.open.set()
    sink.close()
    assert [r.index for r in stuck.results] == [0, 99]


def test_a_result_without_pixels_tells_the_same(result: Make, lost: Make) -> None:
    one = result(3)
    light = without_pixels(one)
    assert light.to_json() == one.to_json()
    assert light.frame is not None and not light.frame.pixels.any()
    assert not any(light.frame.pixels.strides)  # one byte stands for all
    unseen = lost(0, State.FAILED)
    assert without_pixels(unseen) is unseen


def test_lossless_waits_for_a_slow_sink(log: EventLog, result: Make) -> None:
    probe = Probe(takes_s=0.002)
    sink = BufferedSink(probe, "slow", log, depth=2, lossless=True)
    for k in range(60):
        sink.write(result(k))
    sink.close()
    assert [r.index for r in probe.results] == list(range(60))
    assert sink.counts.whole and "SINK_DROPPED" not in ids(log)


def test_lossless_events_never_wait(log: EventLog, result: Make, stuck: Probe) -> None:
    """Not even in the sink's own thread, which would wait for itself."""
    sink = BufferedSink(stuck, "slow", log, depth=1, lossless=True)
    event = log.emit("RUN_STARTED", "")
    assert event is not None
    for _ in range(1200):
        sink.event(event)
    assert whole(sink.counts) and sink.counts.dropped >= 198
    stuck.open.set()
    sink.close()


def test_lossless_ends_in_a_hurry(log: EventLog, result: Make, stuck: Probe) -> None:
    sink = BufferedSink(stuck, "stuck", log, depth=1, lossless=True)
    sink.write(result(0))
    assert stuck.entered.wait(10)
    sink.write(result(1))
    sink.hurry()
    start = time.monotonic()
    for k in range(2, 10):
        sink.write(result(k))
    assert 0.2 < time.monotonic() - start < 10
    sink.close(timeout_s=0.1)
    assert whole(sink.counts)


def test_lossless_does_not_wait_for_a_dead_sink(log: EventLog, result: Make) -> None:
    probe = Probe()
    probe.failing = SinkError("x: gone")
    sink = BufferedSink(probe, "gone", log, depth=2, lossless=True)
    for k in range(50):
        sink.write(result(k))
    sink.close()
    assert sink.counts.failed + sink.counts.dropped == 50
    assert ids(log).count("SINK_FAILED") == 1


def test_a_required_sink_ends_the_run_with_its_error(log: EventLog, result: Make) -> None:
    probe = Probe()
    probe.failing = SinkError("r.jsonl: cannot be written: the disk is full")
    sink = BufferedSink(probe, "r.jsonl", log, required=True)
    with pytest.raises(SinkError, match="the disk is full"):
        for k in range(100_000):
            sink.write(result(k))
            time.sleep(0.001)
    with pytest.raises(SinkError, match="the disk is full"):
        sink.close()
    assert whole(sink.counts) and not sink.counts.waiting


def test_a_fault_in_a_sink_is_one_line(log: EventLog, result: Make) -> None:
    probe = Probe()
    probe.failing = ZeroDivisionError("division by zero")
    sink = BufferedSink(probe, "theirs", log, required=True)
    sink.write(result(0))
    with pytest.raises(SinkError, match="theirs: ZeroDivisionError"):
        sink.close()
    assert ids(log) == ["SINK_FAILED"]


def test_a_sink_that_returns(log: EventLog, result: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trouble, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(trouble, "_LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr(trouble, "_STEADY_S", 0.05)
    probe = Probe(recovers=True)
    probe.failing = SinkError("net: nobody listens there")
    sink = BufferedSink(probe, "net", log, depth=10)
    for k in range(5):
        sink.write(result(k))
    until(lambda: sink.counts.failed >= 2)
    probe.failing = None
    index = 5
    while "SINK_RETURNED" not in ids(log):
        sink.write(result(index))
        index += 1
        time.sleep(0.01)
        assert index < 2000
    sink.close()
    assert [name for name in ids(log) if name != "SINK_DROPPED"] == [
        "SINK_FAILED",
        "SINK_RETURNED",
    ]
    counts = sink.counts
    assert whole(counts) and counts.failed >= 2 and counts.written == len(probe.results)


def test_while_a_sink_is_down_the_newest_wait(log: EventLog, result: Make) -> None:
    probe = Probe(recovers=True)
    probe.failing = SinkError("net: down")
    sink = BufferedSink(probe, "net", log, depth=8)
    sink.write(result(0))
    until(lambda: sink.counts.failed == 1)
    for k in range(1, 5):
        sink.write(result(k))
    probe.failing = None
    sink.close()
    assert [r.index for r in probe.results] == [1, 2, 3, 4]


SCRIPTS = st.lists(st.sampled_from("wwwwefhrc"), max_size=80)


@settings(max_examples=40, deadline=None)
@given(
    SCRIPTS, st.integers(1, 5), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 1 << 30)
)
def test_the_account_is_exact(
    result: Make,
    script: list[str],
    depth: int,
    lossless: bool,
    recovers: bool,
    end: bool,
    seed: int,
) -> None:
    """Whatever a sink does and whenever: nothing offered is lost from the account."""
    log, chance = EventLog(), random.Random(seed)
    probe = Probe(recovers=recovers)
    sink = BufferedSink(probe, "p", log, depth=depth, lossless=lossless)
    event = log.emit("RUN_STARTED", "")
    assert event is not None
    offered = 0
    for step in script:
        if step == "w" and not (lossless and not probe.open.is_set()):
            sink.write(result(offered))
            offered += 1
        elif step == "e":
            sink.event(event)
            offered += 1
        elif step == "f":
            probe.failing = chance.choice([SinkError("x"), ValueError("y"), None])
        elif step == "h":
            probe.open.clear()
        elif step == "r":
            probe.open.set()
        elif step == "c":
            time.sleep(0.0005)
        counts = sink.counts
        assert whole(counts) and counts.offered == offered
    if end:
        probe.open.set()
    sink.close(timeout_s=5.0 if probe.open.is_set() else 0.02)
    counts = sink.counts
    probe.open.set()
    assert whole(counts) and counts.offered == offered and counts.waiting == 0
    if probe.closed:
        assert counts.written == len(probe.results) + len(probe.events)


def test_all_hear_of_the_one_that_fails(log: EventLog, result: Make) -> None:
    good, bad = Probe(), Probe()
    bad.failing = SinkError("bad: gone")
    fan = SinkFan(log, lossless=True)
    fan.add(good, "same")
    fan.add(bad, "same")
    log.emit("RUN_STARTED", "")
    for k in range(30):
        fan.write(result(k))
    until(lambda: "SINK_FAILED" in ids(log))
    fan.close()
    fan.close()
    assert [r.index for r in good.results] == list(range(30))
    assert [event.id for event in good.events] == ["RUN_STARTED", "SINK_FAILED"]
    assert list(fan.counts()) == ["same", "same (2)"]
    assert fan.counts()["same (2)"].failed >= 31
    assert not [thread for thread in threading.enumerate() if "same" in thread.name]


def test_one_that_hangs_does_not_keep_the_others_from_their_end(
    log: EventLog, result: Make, stuck: Probe
) -> None:
    slow, needed = Probe(takes_s=0.001), Probe()
    fan = SinkFan(log, lossless=False)
    fan.add(stuck, "stuck")
    fan.add(slow, "slow")
    fan.add(needed, "needed", required=True)
    for k in range(20):
        fan.write(result(k))
    fan.close(timeout_s=0.3)
    assert fan.counts()["stuck"].dropped == 20
    assert slow.closed == needed.closed == 1 and len(slow.results) == 20
    assert [event.id for event in needed.events] == ["SINK_FAILED"]  # its end was heard of


def test_who_looks_at_no_pixels_keeps_none(log: EventLog, result: Make) -> None:
    light, heavy = Probe(), Probe()
    heavy.takes_pixels = True
    fan = SinkFan(log, lossless=True)
    for name, probe in (("light", light), ("heavy", heavy)):
        probe.open.clear()
        fan.add(probe, name)
    fan.write(result(0))
    assert light.entered.wait(10) and heavy.entered.wait(10)
    fan.write(result(1))  # waits in both buffers
    for probe in (light, heavy):
        probe.open.set()
    fan.close()
    assert light.results[1].frame is not None and not light.results[1].frame.pixels.any()
    assert heavy.results[1].frame is not None and heavy.results[1].frame.pixels.all()
