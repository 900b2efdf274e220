"""The judge: it passes a good run, and sees each thing that is wrong with a bad one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rille.hil.judge import judge
from rille.hil.observed import Answer, Observed, Sent, Span
from rille.hil.scenario import Fault, Scenario, read_scenarios
from rille.hil.target import End
from rille.hil.telemetry import Record

HERE = Path(__file__).parent
S = 1_000_000_000
TOTALS = {"captured": 20, "ok": 20, "late": 0, "dropped": 0, "failed": 0}


def run_of(**changes: Any) -> Observed:
    """Return a run in which frames 0 to 19 were answered, a tenth of a second apart."""
    sent = {
        n: Sent(number=n, at_ns=n * S // 10, stamp_us=n * 100_000, picture=n % 2, effect="")
        for n in range(20)
    }
    records = [
        Record(
            n * S // 10 + 5_000_000,
            {
                "seq": n,
                "frame": n,
                "name": f"bench {n}",
                "state": "ok",
                "quality": [],
                "captured_ns": n * S // 10 + 1_000_000,
                "published_ns": n * S // 10 + 4_000_000,
                "classification": {"label": "ab"[n % 2], "probability": 0.5},
            },
        )
        for n in range(20)
    ]
    records.append(
        Record(3 * S, {"seq": 20, "event": "RUN_ENDED", "at_ns": 3 * S, "values": TOTALS})
    )
    fields: dict[str, Any] = {
        "scenario": Scenario(name="a"),
        "target": "subprocess",
        "link": "shm",
        "lossless": True,
        "sent": sent,
        "records": records,
        "spans": [],
        "end": End(code=0, stop_s=0.1),
        "began_ns": 0,
        "ended_ns": 2 * S,
        "answers": (Answer("a", 0.5, {"a": 0.5, "b": 0.4}), Answer("b", 0.5, {"b": 0.5, "a": 0.4})),
    }
    fields.update(changes)
    return Observed(**fields)


def failures(observed: Observed) -> list[str]:
    return [check.name for check in judge(observed)[0] if not check.passed]


def changed(n: int, **fields: Any) -> list[Record]:
    """Return the records of a good run with something else in one of them."""
    records = list(run_of().records)
    records[n] = replace(records[n], fields={**records[n].fields, **fields})
    return records


def touched(n: int, **fields: Any) -> dict[int, Sent]:
    """Return the frames of a good run with something else in one of them."""
    return {**run_of().sent, n: replace(run_of().sent[n], **fields)}


def event(seq: int, name: str, at_ns: int = S) -> Record:
    return Record(at_ns, {"seq": seq, "event": name, "at_ns": at_ns, "values": {}})


def test_the_judge_passes_a_good_run() -> None:
    checks, figures = judge(run_of())
    assert not failures(run_of()) and len(checks) >= 6
    assert figures["undeclared"] == 0 and figures["trip_p50_ms"] == 5.0
    assert abs(figures["offset_ms"] or 0) <= (figures["offset_uncertainty_ms"] or 0) + 1


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"end": End(code=1, stop_s=0.1)}, "alive"),
        ({"end": End(code=0, words="Traceback (most recent call last)", stop_s=0.1)}, "alive"),
        ({"end": End(code=0, stop_s=99.0)}, "alive"),
        ({"end": End(code=0)}, "alive"),
        ({"records": [r for r in run_of().records if r.fields["seq"] != 10]}, "account"),
        ({"records": changed(7, frame=6)}, "account"),
        ({"records": changed(20, values=TOTALS | {"captured": 21})}, "account"),
        ({"sent": touched(5, effect="refused")}, "bad input"),
        ({"sent": touched(5, effect="flag:dark")}, "bad input"),
        ({"sent": touched(5, effect="limit")}, "bad input"),
        ({"sent": touched(5, stamp_us=0)}, "bad input"),
        ({"sent": touched(5, picture=0)}, "bad input"),
        ({"records": changed(5, quality=["frozen"])}, "bad input"),
        ({"records": changed(5, classification={"label": "z", "probability": 0.5})}, "truth"),
        ({"records": changed(5, classification={"label": "b", "probability": 0.6})}, "truth"),
        (
            {
                "records": changed(5, classification={"label": "a", "probability": 0.6}),
                "truth_within": 0.1,
            },
            "truth",
        ),
        ({"records": run_of().records[:4]}, "service"),
        ({"records": [*run_of().records, event(21, "BUDGET_UNREACHABLE")]}, "false alarms"),
    ],
)
def test_the_judge_sees(changes: dict[str, Any], failed: str) -> None:
    assert failed in failures(run_of(**changes))


def test_a_device_that_was_started_anew_has_seen_nothing_yet() -> None:
    """The first picture of a second part may be the last of the first: no device remembers it."""
    first, second = run_of().records[:10], run_of().records[11:20]
    whole = [*first, *second]
    anew = [*first, *(replace(r, fields={**r.fields, "seq": n}) for n, r in enumerate(second))]
    told = {check.name: check.words for check in judge(run_of(records=whole))[0]}
    assert told["bad input"] == "frame 11: shows the picture of the frame before, unnoticed"
    told = {check.name: check.words for check in judge(run_of(records=anew))[0]}
    assert told["bad input"] == "0 bad frames sent, 0 published as good"


def test_the_judge_times_a_restart() -> None:
    scenario = next(
        s
        for s in read_scenarios(HERE / "scenarios" / "process-run.toml")
        if s.name == "process-run-hung"
    )
    span = Span(scenario.fault[0], S // 2, S * 6 // 10)
    told = [{"event": "CHILD_RESTARTED", "at_ns": S * 3 // 2}]
    run = run_of(scenario=scenario, spans=[span], told=told)
    checks, figures = judge(run)
    assert figures["restart_s"] == 1.0
    assert next(check for check in checks if check.name == "restart").passed
    assert "restart" in failures(run_of(scenario=scenario, spans=[span]))
    told[0]["at_ns"] = 3 * S
    assert "restart" in failures(run_of(scenario=scenario, spans=[span], told=told))


@pytest.mark.parametrize(
    "said",
    [
        {"label": "b", "probability": 0.55},
        {"label": "a", "probability": 0.45},  # nearly as likely on the bench
        {"label": "a + b", "probability": 0.5, "labels": {"a": 0.45, "b": 0.55}},
    ],
)
def test_another_processor_may_round_otherwise_when_that_is_said(said: dict[str, Any]) -> None:
    records = changed(5, classification=said)
    assert failures(run_of(records=records)) == ["truth"]
    assert not failures(run_of(records=records, truth_within=0.1))


def test_the_judge_holds_faults_against_events() -> None:
    fault = Fault(component="camera", type="off", at_s=0.5, for_s=0.2)
    scenario = read_scenarios(HERE / "scenarios" / "camera-silent.toml")[0]
    observed = run_of(
        scenario=scenario,
        spans=[Span(fault, S // 2, S * 7 // 10)],
        records=[
            *run_of().records,
            event(21, "SOURCE_STALLED", S * 6 // 10),
            event(22, "SOURCE_RETURNED", S),
        ],
    )
    checks, figures = judge(observed)
    assert all(check.passed for check in checks), checks
    assert figures["detect_s"] == pytest.approx(0.1)
    assert figures["recover_s"] == pytest.approx(0.005)
    silent = run_of(scenario=scenario, spans=observed.spans)
    assert {"event SOURCE_STALLED", "detection"} <= set(failures(silent))
    late = replace(scenario, expect=replace(scenario.expect, recover_s=0.001))
    assert "recovery" in failures(run_of(scenario=late, spans=observed.spans))
