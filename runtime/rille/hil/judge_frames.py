"""Checks on frames: all accounted for, none that is bad published as good, answers as they were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rille.hil.observed import EXACT
from rille.hil.verdict import Check

if TYPE_CHECKING:
    from rille.hil.observed import Answer, Observed, Sent
    from rille.hil.telemetry import Record

_STATES = ("ok", "late", "dropped", "failed")
_AFTER_S = 1.0
"""Seconds after a fault in which frames do not yet count for the share that must be good."""
_FEW = 10


def parts_of(records: Sequence[Record]) -> list[list[Record]]:
    """Return telemetry by runs of the device: each start numbers from 0 again."""
    parts: list[list[Record]] = []
    for record in records:
        if not parts or record.fields["seq"] == 0:
            parts.append([])
        parts[-1].append(record)
    return parts


def account(observed: Observed) -> tuple[Check, int]:
    """Check that every captured frame is declared; return how many are not.

    Each part of a supervised run is looked at alone; the last record of one that was killed may
    still have been on its way.
    """
    wrong: list[str] = []
    undeclared = 0
    for k, part in enumerate(parts_of(observed.records)):
        results = [record for record in part if not record.event]
        lost = part[-1].fields["seq"] + 1 - part[0].fields["seq"] - len(part)
        indices = [record.fields["frame"] for record in results]
        missing = indices[-1] + 1 - indices[0] - len(set(indices)) if indices else 0
        if observed.scenario.expect.whole:
            undeclared += max(0, missing)
            if lost or missing:
                wrong.append(f"part {k}: {lost} datagrams and {missing} frames are missing")
        if len(set(indices)) != len(indices):
            wrong.append(f"part {k}: a frame ended twice")
        ended = next((r.fields["values"] for r in part if r.event == "RUN_ENDED"), None)
        if ended is not None and "captured" in ended:
            words, gap = _totals(ended, results, observed.scenario.expect.whole)
            undeclared += gap
            wrong += [f"part {k}: {words}"] if words else []
    wrong += list(_ledger(observed))
    words = "; ".join(wrong) or _declared(observed)
    return Check("account", not wrong, words), undeclared


def _declared(observed: Observed) -> str:
    states = Counter(str(record.fields["state"]) for record in observed.results)
    return f"{sum(states.values())} frames = " + " + ".join(
        f"{states[state]} {state}" for state in _STATES
    )


def _totals(ended: dict[str, Any], results: list[Record], whole: bool) -> tuple[str, int]:
    """Compare the device's own sum with the records; return what is wrong and what is missing."""
    captured, ends = ended["captured"], sum(ended[state] for state in _STATES)
    if captured != ends:
        return f"captured {captured} is not the sum of its ends, {ends}", captured - ends
    if whole and len(results) != captured:
        return f"captured {captured}, declared {len(results)}", captured - len(results)
    return "", 0


def _ledger(observed: Observed) -> Iterator[str]:
    """Check a supervisor's account of each part, and its sum."""
    table = observed.supervisor
    if table is None:
        return
    for row in [*table.get("parts", []), table["account"]]:
        if row["captured"] != sum(row[state] for state in _STATES) + row["lost"]:
            yield f"the supervisor's account does not add up: {row}"


def bad_input(observed: Observed) -> tuple[Check, dict[str, int]]:
    """Check that no bad frame was published as a good one; return the counts."""
    sent = [frame for frame in observed.sent.values() if frame.effect not in ("", "free")]
    wrong: list[str] = []
    limits = 0
    for part in parts_of(observed.records):
        before: Sent | None = None  # a device that was started anew has seen nothing yet
        for record in part:
            frame = observed.sent_of(record)
            if record.event or frame is None:
                continue
            flags = record.fields.get("quality", [])
            if record.published:
                limits += frame.effect == "limit" and not flags
                told = _unflagged(frame, before, flags, observed.lossless)
                wrong += [f"frame {frame.number}: {words}" for words in told]
            if record.published or record.fields["state"] == "failed":
                before = frame  # the device has looked at it
    if limits and not observed.scenario.expect.limit:
        wrong.append(f"{limits} spoilt frames were published, and no limit is declared")
    words = "; ".join(wrong[:_FEW]) or f"{len(sent)} bad frames sent, 0 published as good"
    words += f" (but {limits}: {observed.scenario.expect.limit})" if limits else ""
    figures = {"bad_sent": len(sent), "bad_published": len(wrong), "limit_published": limits}
    return Check("bad input", not wrong, words), figures


def _unflagged(frame: Sent, before: Sent | None, flags: list[str], lossless: bool) -> Iterator[str]:
    """Yield what should have been noticed of a published frame, and what was noticed wrongly."""
    if frame.effect == "refused":
        yield "was damaged on the way and was published"
    elif frame.effect.startswith("flag:") and frame.effect[5:] not in flags:
        yield f"was published without the flag {frame.effect[5:]!r} (flags: {flags})"
    if before is None:
        return
    if frame.stamp_us <= before.stamp_us and "out-of-order" not in flags:
        yield "has a time before that of the frame before, unnoticed"
    if lossless and frame.picture >= 0 and not frame.effect and not before.effect:
        same = frame.picture == before.picture
        if same and "frozen" not in flags:
            yield "shows the picture of the frame before, unnoticed"
        elif not same and "frozen" in flags:
            yield "is said to be frozen, and is not"


def good(observed: Observed, record: Record) -> bool:
    """Return whether a result is that of a sound frame, published without doubt."""
    frame = observed.sent_of(record)
    quality = set(record.fields.get("quality", [])) - {"out-of-order"}
    return bool(record.published and frame is not None and not frame.effect and not quality)


def served(observed: Observed) -> Check:
    """Check that frames were answered while nothing was broken."""
    calm = {
        number
        for number, frame in observed.sent.items()
        if observed.began_ns <= frame.at_ns
        and not observed.disturbed(frame.at_ns, _AFTER_S)
        and not frame.effect
    }
    answered = {r.number for r in observed.results if r.published} & calm
    share = len(answered) / len(calm) if calm else 1.0
    least = observed.scenario.expect.ok_share / observed.slack
    words = f"{len(answered)} of {len(calm)} frames outside faults published (at least {least:.0%})"
    return Check("service", share >= least, words)


def truth(observed: Observed) -> Check | None:
    """Check that the answers are those which the same networks give on the bench."""
    if not observed.answers:
        return None
    compared, wrong, within = 0, [], observed.truth_within
    for record in observed.results:
        frame, answer = observed.sent_of(record), record.fields.get("classification")
        if not answer or frame is None or frame.picture < 0 or frame.effect:
            continue
        compared += 1
        expected = observed.answers[frame.picture]
        apart = _apart(answer, expected)
        if apart > within or (within <= EXACT and answer["label"] != expected.label):
            wrong.append(
                f"frame {frame.number}: {answer['label']!r}, not {expected.label!r}, probabilities "
                f"{apart:.3g} apart"
            )
    near = "" if within <= EXACT else f", probabilities within {within:g}"
    words = "; ".join(wrong[:_FEW]) or f"{compared} answers as on the bench{near}"
    return Check("truth", not wrong, words)


def _apart(said: Mapping[str, Any], expected: Answer) -> float:
    """Return the largest difference of a probability, of the answer or of independent labels."""
    if said["label"] == expected.label and "labels" not in said:
        return abs(float(said["probability"]) - expected.probability)
    shares = said.get("labels") or {said["label"]: said["probability"]}
    return max(abs(float(p) - expected.shares.get(name, -1.0)) for name, p in shares.items())


def minima(observed: Observed) -> Iterator[Check]:
    """Check quality flags and states that must come so often at least."""
    expect = observed.scenario.expect
    flags = Counter(
        flag for r in observed.results if r.published for flag in r.fields.get("quality", [])
    )
    states = Counter(str(record.fields["state"]) for record in observed.results)
    for kind, least, found in (("flag", expect.quality, flags), ("state", expect.states, states)):
        for name, count in least.items():
            words = f"{found[name]} frames (at least {count})"
            yield Check(f"{kind} {name}", found[name] >= count, words)
