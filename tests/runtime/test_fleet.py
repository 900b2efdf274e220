"""Several cameras in one process: fair turns, apart accounts, one that dies alone."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from types import FrameType
from typing import Any

import pytest
from scripted import ScriptedCamera, check_account, network

from rille.budget import Budget
from rille.errors import ConfigError, SourceError
from rille.fleet import Fleet
from rille.pipeline import Pipeline
from rille.sources import Source


def pipeline(cost_ms: float, frame_ms: float = 60_000) -> Pipeline:
    return Pipeline(segment=network("segmentation", [cost_ms]), budget=Budget(frame_ms=frame_ms))


class Endless(ScriptedCamera):
    """Stands in for a camera that gives frames at a steady pace until it is left alone."""

    def __init__(self, gap_ms: float) -> None:
        super().__init__([gap_ms] * 100_000, [False])


class Dying(ScriptedCamera):
    """Stands in for a camera whose cable is pulled after three frames."""

    def _next(self) -> Any:
        if self.index == 3:
            raise SourceError("the cable was pulled")
        return super()._next()


def served(fleet: Fleet, cameras: dict[str, Source], seconds: float) -> Counter[str]:
    """Run a while; return published frames by camera."""
    end = time.monotonic() + seconds
    count: Counter[str] = Counter()
    for name, result in fleet.stream(cameras, losses=True):
        count[name] += result.published
        if time.monotonic() > end:
            fleet.stop()
    return count


def check_all(fleet: Fleet) -> None:
    for one in fleet.pipelines.values():
        t = one.stats.totals
        assert t.captured == t.ok + t.late + t.dropped + t.failed and not t.in_flight


def test_a_fast_camera_does_not_starve_a_slow_one() -> None:
    fleet = Fleet({"fast": pipeline(20.0), "slow": pipeline(20.0)})
    count = served(fleet, {"fast": Endless(1.0), "slow": Endless(200.0)}, 3.0)
    slow = fleet.pipelines["slow"].stats.totals
    # At the end one frame may wait for its turn and one be on its way.
    assert set(slow.causes) <= {"shutdown"} and slow.dropped <= 2
    assert count["slow"] == slow.captured - slow.dropped >= 8
    assert count["fast"] > 4 * count["slow"]
    assert fleet.pipelines["slow"].stats.age.percentile(0.9) < 150
    check_all(fleet)


def test_the_processor_is_shared_by_time_not_by_frames() -> None:
    fleet = Fleet({"light": pipeline(10.0), "heavy": pipeline(40.0)})
    count = served(fleet, {"light": Endless(1.0), "heavy": Endless(1.0)}, 3.0)
    assert 2.2 < count["light"] / count["heavy"] < 6.5
    check_all(fleet)


def test_shares_weigh() -> None:
    fleet = Fleet({"front": pipeline(10.0), "rear": pipeline(10.0)}, {"front": 3.0})
    count = served(fleet, {"front": Endless(1.0), "rear": Endless(1.0)}, 3.0)
    assert 2.0 < count["front"] / count["rear"] < 4.5


def test_recordings_lose_nothing_beside_a_camera() -> None:
    fleet = Fleet({"camera": pipeline(1.0), "file": pipeline(1.0)})
    cameras = {
        "camera": ScriptedCamera([5.0] * 20, [False]),
        "file": ScriptedCamera([0.0] * 30, [False], realtime=False),
    }
    found = list(fleet.stream(cameras))
    indices = [result.index for name, result in found if name == "file"]
    assert indices == list(range(30))
    check_account(fleet.pipelines["file"], 30)
    check_account(fleet.pipelines["camera"], 20)


def test_a_camera_that_dies_ends_alone() -> None:
    fleet = Fleet({"dying": pipeline(0.0), "other": pipeline(0.0)})
    cameras = {
        "dying": Dying([10.0] * 10, [False]),
        "other": ScriptedCamera([10.0] * 30, [False]),
    }
    count: Counter[str] = Counter()
    with pytest.raises(SourceError, match="cable"):
        for name, _ in fleet.stream(cameras, losses=True):
            count[name] += 1
    assert count == {"dying": 3, "other": 30}
    check_all(fleet)


def test_leaving_early_accounts_for_what_is_in_hand() -> None:
    fleet = Fleet({"one": pipeline(1.0), "two": pipeline(1.0)})
    stream = fleet.stream({"one": Endless(1.0), "two": Endless(1.0)})
    for _ in range(5):
        next(stream)
    stream.close()  # type: ignore[attr-defined]
    check_all(fleet)


def test_names_and_shares_must_fit() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        Fleet({})
    with pytest.raises(ConfigError, match="no camera 'left'"):
        Fleet({"front": pipeline(0.0)}, {"left": 1.0})
    with pytest.raises(ConfigError, match="above 0"):
        Fleet({"front": pipeline(0.0)}, {"front": 0.0})
    with pytest.raises(ConfigError, match="named rear"):
        list(Fleet({"front": pipeline(0.0)}).stream({"rear": Endless(1.0)}))


def stopped_inside_threading(moment: int) -> bool:
    """Stream in a thread and stop at its so many-th call or return inside `threading`.

    Between two instructions of the streaming thread is where its signal handlers run. Returns
    whether the stream came to an end.
    """
    fleet, seen = Fleet({"one": pipeline(0.0), "two": pipeline(0.0)}), 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal seen
        if frame.f_code.co_filename != threading.__file__:
            return None
        back = frame.f_back
        if seen or (back is not None and back.f_code.co_name == "_turns"):
            seen += event in ("call", "return")
        if seen == moment:
            sys.settrace(None)
            fleet.stop()
        return trace

    def stream() -> None:
        sys.settrace(trace)
        for _ in fleet.stream({"one": Endless(20.0), "two": Endless(30.0)}):
            pass

    thread = threading.Thread(target=stream, daemon=True)
    thread.start()
    thread.join(20.0)
    return not thread.is_alive()


def test_a_signal_may_stop_a_stream_at_any_moment() -> None:
    assert [moment for moment in range(1, 50) if not stopped_inside_threading(moment)] == []
