"""The judge: ground truth and schedule on one side, telemetry on the other, a verdict."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rille.events import KINDS, Severity
from rille.hil.clocks import Offset, offset_of
from rille.hil.judge_frames import account, bad_input, good, minima, served, truth
from rille.hil.verdict import Check

if TYPE_CHECKING:
    from rille.hil.observed import Observed

_ALARMING = (Severity.WARNING_HI, Severity.FATAL)
_MOMENTARY = ("off",)
"""Types of faults of the component "process" that are over as soon as they have begun."""

Figures = dict[str, float | int | None]


def judge(observed: Observed) -> tuple[tuple[Check, ...], Figures]:
    """Return the checks and the figures of a run."""
    expect = observed.scenario.expect
    checks = [_ending(observed)]
    figures: Figures = {}
    if expect.exit == 0 or observed.results:
        counted, undeclared = account(observed)
        refused, bad = bad_input(observed)
        checks += [counted, refused, *minima(observed)]
        checks += [check for check in (truth(observed),) if check is not None]
        figures |= {"undeclared": undeclared, **bad}
    if expect.exit == 0:
        checks += [served(observed), *_recovery(observed, figures)]
    checks += [*_events(observed), *_detection(observed, figures), *_restart(observed, figures)]
    checks += _clock(observed, figures)
    _count(observed, figures)
    return tuple(checks), figures


def _ending(observed: Observed) -> Check:
    """Check that the device lived, or ended as it should."""
    expect, end = observed.scenario.expect, observed.end
    if observed.target == "host":
        return Check("alive", bool(observed.results), f"{len(observed.results)} results came")
    last = end.words.strip().splitlines()[-1:] or [""]
    if end.code != expect.exit:
        return Check("alive", False, f"exit code {end.code}, not {expect.exit}: {last[0][:300]}")
    if "Traceback" in end.words:
        return Check("alive", False, f"a traceback: {last[0][:300]}")
    if expect.says and expect.says not in end.words:
        return Check("alive", False, f"does not say {expect.says!r}: {last[0][:300]}")
    if end.stop_s is not None and end.stop_s > expect.stop_s * observed.slack:
        return Check("alive", False, f"took {end.stop_s:.2f} s to end, allowed {expect.stop_s:g}")
    if expect.exit == 0 and end.stop_s is None:
        return Check("alive", False, f"ended by itself: {last[0][:300]}")
    return Check("alive", True, f"exit code {end.code}")


def _events(observed: Observed) -> Iterator[Check]:
    """Check that what must be told is told, not too often, and nothing else that alarms."""
    expect = observed.scenario.expect
    found = Counter(str(fields["event"]) for _, fields in observed.events)
    most = expect.at_most or 6 + int((observed.ended_ns - observed.began_ns) / 1e9)
    for name in expect.events:
        words = f"{found[name]} times (1 to {most})"
        yield Check(f"event {name}", 1 <= found[name] <= most, words)
    known = {*expect.events, *expect.allow}
    strange = Counter(
        str(fields["event"])
        for at_ns, fields in observed.events
        if fields["event"] not in known
        and (fields["event"] not in KINDS or KINDS[fields["event"]].severity in _ALARMING)
        and not (fields["event"] == "SOURCE_STALLED" and _excused(observed, at_ns))
    )
    words = ", ".join(f"{name} {count} times" for name, count in strange.items()) or "none"
    yield Check("false alarms", not strange, words)


def _excused(observed: Observed, at_ns: int) -> bool:
    """Return whether a stall is the bench's: no frames are due, or the machine is starved.

    Half a second of silence is a stall wherever it comes from, and a device is right to tell of it;
    but the catalogue has then not shown that the device saw a stall where none was. Before the
    scenario begins, and once its last frame is sent, the bench is silent itself.
    """
    return not observed.began_ns <= at_ns <= observed.ended_ns or observed.starved


def _detection(observed: Observed, figures: Figures) -> Iterator[Check]:
    """Check that the first expected event came soon after the first fault."""
    expect = observed.scenario.expect
    if not observed.spans or not expect.events:
        return
    took_s = _told_after_s(observed, expect.events)
    figures["detect_s"] = None if math.isinf(took_s) else round(took_s, 4)
    if expect.detect_s:
        words = f"{took_s:.2f} s after the fault (at most {expect.detect_s:g})"
        yield _bounded("detection", took_s, expect.detect_s, words, observed, figures)


def _restart(observed: Observed, figures: Figures) -> Iterator[Check]:
    """Check that a supervisor started the run again soon after the first fault."""
    expect = observed.scenario.expect
    took_s = _told_after_s(observed, ("CHILD_RESTARTED",))
    if not math.isinf(took_s):
        figures["restart_s"] = round(took_s, 4)
    if expect.restart_s:
        words = f"{took_s:.2f} s after the fault (at most {expect.restart_s:g})"
        yield _bounded("restart", took_s, expect.restart_s, words, observed, figures)


def _told_after_s(observed: Observed, names: Sequence[str]) -> float:
    """Return the seconds from the first fault to the first of these events; infinite for none."""
    began = min((span.began_ns for span in observed.spans), default=0)
    times = (at for at, fields in observed.events if fields["event"] in names and at >= began)
    return (min(times, default=math.inf) - began) / 1e9


def _bounded(
    name: str, took_s: float, most_s: float, words: str, observed: Observed, figures: Figures
) -> Check:
    """Return whether a time is within its bound; count where only the stretched bound held."""
    stretched = observed.slack
    if most_s < took_s <= most_s * stretched:
        figures["stretched"] = int(figures.get("stretched") or 0) + 1
        words += f", stretched by {stretched:g}: the machine was starved"
    return Check(name, took_s <= most_s * stretched, words)


def _recovery(observed: Observed, figures: Figures) -> Iterator[Check]:
    """Check that a good frame was published soon after the last fault had ended."""
    expect = observed.scenario.expect
    ends = [
        span.began_ns
        if span.fault.component == "process" and span.fault.type in _MOMENTARY
        else span.ended_ns
        for span in observed.spans
    ]
    known = [end for end in ends if end is not None]
    if not known or len(known) < len(ends):
        return  # something stays broken to the end, so there is nothing to recover from
    last = max(known)
    times = [
        (record.received_ns - last) / 1e9
        for record in observed.results
        if good(observed, record)
        and (sent := observed.sent_of(record)) is not None
        and sent.at_ns >= last
    ]
    took_s = min(times, default=math.inf)
    figures["recover_s"] = None if math.isinf(took_s) else round(took_s, 4)
    if expect.recover_s:
        words = f"first good frame {took_s:.2f} s after the fault (at most {expect.recover_s:g})"
        yield _bounded("recovery", took_s, expect.recover_s, words, observed, figures)


def _clock(observed: Observed, figures: Figures) -> list[Check]:
    """Estimate the clocks' offset; where the scenario shifted a clock, check the estimate."""
    offset: Offset | None = offset_of(observed)
    if offset is None:
        return []
    figures["offset_ms"] = round(offset.ns / 1e6, 4)
    figures["offset_uncertainty_ms"] = round(offset.uncertainty_ns / 1e6, 4)
    shifts = [f.amount * 1e9 for f in observed.scenario.fault if f.value == "boot"]
    return [
        Check("clock offset", abs(offset.ns - shift) <= offset.uncertainty_ns + 1e6, str(offset))
        for shift in shifts
    ]


def _count(observed: Observed, figures: Figures) -> None:
    """Add counts and the round trips that the bench alone can tell."""
    states = Counter(str(record.fields["state"]) for record in observed.results)
    figures |= {"sent": len(observed.sent), "captured": len(observed.results)}
    figures |= {state: states[state] for state in ("ok", "late", "dropped", "failed")}
    figures["stop_s"] = None if observed.end.stop_s is None else round(observed.end.stop_s, 4)
    trips = [
        (record.received_ns - sent.at_ns) / 1e6
        for record in observed.results
        if record.published
        and (sent := observed.sent_of(record)) is not None
        and not observed.disturbed(sent.at_ns, 1.0)
    ]
    figures["trips"] = len(trips)
    figures["cpu_pressure"] = None if observed.pressure is None else round(observed.pressure, 3)
    if trips:
        for name, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0)):
            figures[f"trip_{name}_ms"] = round(float(np.quantile(trips, share)), 3)
