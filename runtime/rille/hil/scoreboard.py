"""The score of a catalogue as a page in Markdown: what was asked for beside what was measured.

Only what was measured stands in it; a figure of few runs says of how many.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import numpy as np

import rille
from rille.board import usable_cores

if TYPE_CHECKING:
    from rille.hil.catalogue import Catalogue
    from rille.hil.selftest import SelfTest
    from rille.hil.verdict import Verdict

_NEVER = (
    "a camera on USB or on a board's connector that is really pulled",
    "a brown-out, the wear of an SD card, real heat, real radiation",
    "a board: the target `host:port` was tried with a run on this machine alone",
    "an emulated aarch64 as the device under test",
)


def scoreboard(catalogue: Catalogue, proof: Sequence[SelfTest], command: str) -> str:
    """Return the page.

    Args:
        catalogue: what came of the scenarios.
        proof: what came of the bench's self-test.
        command: what was run.
    """
    lines = [
        "# Hardware in the loop: results",
        "",
        f"`{command}`, {_when()}: **{catalogue}**",
        "",
        *_figures(catalogue),
        "",
        *_bench(proof),
        "",
        *_limits(catalogue),
        *_scenarios(catalogue),
        "",
        "## Never tried here",
        "",
        *(f"* {what}" for what in _NEVER),
        "",
    ]
    return "\n".join(lines)


def _when() -> str:
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    load = os.getloadavg()[0]
    return (
        f"{date}, rille {rille.__version__}, {platform.machine()}, Python "
        f"{platform.python_version()}, {usable_cores()} cores, load {load:.1f} at the end"
    )


def _figures(catalogue: Catalogue) -> Iterator[str]:
    """Yield the table of figures: target beside measured."""
    verdicts = catalogue.verdicts
    yield "| figure | target | measured |"
    yield "|---|---|---|"
    skipped = sum(bool(verdict.skipped) for verdict in verdicts)
    notes = f"; {skipped} runs skipped" if skipped else ""
    yield (
        f"| scenarios survived, each against every target that can run it | N of N, N >= 60 | "
        f"{catalogue.survived()} of {catalogue.scenarios}{notes} |"
    )
    undeclared = _sum(verdicts, "undeclared")
    captured = _sum(verdicts, "captured")
    yield f"| frames undeclared | 0 | {undeclared} of {captured} captured |"
    sent, published = _sum(verdicts, "bad_sent"), _sum(verdicts, "bad_published")
    limits = _sum(verdicts, "limit_published")
    yield (
        f"| bad inputs published as good | 0 | {published} of {sent} sent, and {limits} more that "
        "nothing can tell (limits below) |"
    )
    yield from _times(verdicts)


_SLOW_ENDS = ("storage-", "cpu-", "process-run-")
"""Scenarios in which something still holds the device up when it is told to end."""

_ROWS: tuple[tuple[str, str, str, Callable[[Verdict], bool]], ...] = (
    (
        "camera or link gone: from its return to the first good frame",
        "p95 <= 2 s",
        "recover_s",
        lambda v: v.scenario.startswith(("link-down-", "process-capture-killed")),
    ),
    (
        "camera or link silent: from its return to the first good frame",
        "p95 <= 2 s",
        "recover_s",
        lambda v: v.scenario.startswith(("camera-silent-", "link-stalled-")),
    ),
    (
        "silence told of (20 frames a second)",
        "<= 0.5 s, and telemetry",
        "detect_s",
        lambda v: v.scenario.startswith(("camera-silent-", "link-stalled-")),
    ),
    (
        "run killed: to the first good frame of the next",
        "<= 3 s",
        "recover_s",
        lambda v: v.scenario.startswith("process-run-killed"),
    ),
    (
        "run hung, fatal after 1.5 s: to its restart",
        "<= 2 s",
        "restart_s",
        lambda v: v.scenario.startswith("process-run-hung"),
    ),
    (
        "run hung, fatal after 1.5 s: to the first good frame of the next",
        "<= 1.5 s + 3 s",
        "recover_s",
        lambda v: v.scenario.startswith("process-run-hung"),
    ),
    (
        "bundle spoilt in flight: refusal told of",
        "the old one flies on",
        "detect_s",
        lambda v: v.scenario.startswith("model-flight-"),
    ),
    (
        "new bundle dies 0.5 s into each of three flights: from the first death to the rollback",
        "before the restarts are used up",
        "detect_s",
        lambda v: v.scenario == "process-bundle-dies",
    ),
    (
        "SIGTERM, wherever it comes, to exit 0, processes of their own",
        "<= 1 s",
        "stop_s",
        lambda v: v.target == "subprocess" and not v.scenario.startswith(_SLOW_ENDS),
    ),
)


def _times(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield a row for each figure that is a time, in seconds."""
    for words, target, key, belongs in _ROWS:
        found = [
            float(value)
            for verdict in verdicts
            if belongs(verdict) and (value := verdict.figures.get(key)) is not None
        ]
        if found:
            p50, p95 = (float(np.quantile(found, share)) for share in (0.5, 0.95))
            yield (
                f"| {words} | {target} | p50 {p50:.2f} s, p95 {p95:.2f} s, most "
                f"{max(found):.2f} s (n = {len(found)}) |"
            )


def _bench(proof: Sequence[SelfTest]) -> Iterator[str]:
    yield "## The bench itself"
    yield ""
    yield "From the bench's hand into the hand of the product's own reader, without networks:"
    yield ""
    yield "| link | frames | misread barcodes | p50 | p95 | most |"
    yield "|---|---|---|---|---|---|"
    for row in proof:
        if row.skipped:
            yield f"| {row.link} | SKIPPED: {row.skipped} | | | | |"
        else:
            yield (
                f"| {row.link} | {row.arrived} of {row.sent} | {row.misread} | {row.p50_ms:.1f} ms "
                f"| {row.p95_ms:.1f} ms | {row.max_ms:.1f} ms |"
            )


def _limits(catalogue: Catalogue) -> Iterator[str]:
    """Yield the known limits: spoilt frames that were published, and why."""
    rows = [
        f"* {verdict.scenario} ({verdict.target}): {check.words}"
        for verdict in catalogue.verdicts
        for check in verdict.checks
        if check.name == "bad input" and verdict.figures.get("limit_published")
    ]
    if rows:
        yield from ("## Limits that are known", "", *rows, "")
    pressed = [v.figures.get("cpu_pressure") for v in catalogue.verdicts]
    known = [float(share) for share in pressed if share is not None]
    if known:
        stretched = _sum(catalogue.verdicts, "stretched")
        yield (
            f"Something waited for a processor in {np.median(known):.0%} of the time of a run "
            "(median). Above 60 % bounds on times are stretched threefold, and a stall that is "
            "told of while frames come is not held against the device, which the machine may have "
            f"starved. {stretched} times held only when stretched."
        )
        yield ""


def _scenarios(catalogue: Catalogue) -> Iterator[str]:
    """Yield a row for each scenario, with the outcome against each target."""
    targets = sorted({v.target for v in catalogue.verdicts})
    found = {(v.scenario, v.target): v for v in catalogue.verdicts}
    refused = {(name, target) for name, target, _ in catalogue.refused}
    names = sorted({name for name, _ in (*found, *refused)})
    yield "## Every scenario"
    yield ""
    yield "Empty: the fault cannot be injected into that target, and is refused by name."
    yield ""
    yield f"| scenario | link | {' | '.join(targets)} | told after | good after |"
    yield "|---|---|" + "---|" * (len(targets) + 2)
    for name in names:
        verdicts = [found[name, target] for target in targets if (name, target) in found]
        outcomes = [_outcome(found.get((name, target))) for target in targets]
        told, good = (_longest(verdicts, key) for key in ("detect_s", "recover_s"))
        link = verdicts[0].link if verdicts else ""
        yield f"| {name} | {link} | {' | '.join(outcomes)} | {told} | {good} |"
    failed = [verdict for verdict in catalogue.verdicts if verdict.failures]
    if failed:
        yield from ("", "## What failed", "")
        for verdict in failed:
            for check in verdict.failures:
                yield f"* {verdict.scenario} ({verdict.target}): {check.name}: {check.words[:300]}"


def _outcome(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    if verdict.skipped:
        return f"SKIPPED: {verdict.skipped}"
    return "passed" if verdict.passed else "**FAILED**"


def _longest(verdicts: Sequence[Verdict], key: str) -> str:
    found = [float(value) for v in verdicts if (value := v.figures.get(key)) is not None]
    return f"{max(found):.2f} s" if found else ""


def _sum(verdicts: Sequence[Verdict], key: str) -> int:
    return sum(int(verdict.figures.get(key) or 0) for verdict in verdicts)
