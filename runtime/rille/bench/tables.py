"""The tables of a benchmark, once: rows of text for the terminal, Markdown and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rille.bench.baseline import Change
from rille.bench.blocks import CLOCKS
from rille.bench.cold import ColdStart
from rille.bench.record import BenchRecord
from rille.bench.soak import Soak
from rille.latency import SHARES, intervals, summary

Table = list[list[str]]
"""Rows of equal length, the heading first."""
COLUMNS = (*SHARES, "max")


def number(value: float | None, digits: int = 2) -> str:
    """Return a figure as text; "-" for one that is not known."""
    return "-" if value is None else f"{value:.{digits}f}"


WHOLE = ("pipeline", "age (capture to publication)")
"""Series whose intervals are always shown."""


def latency_table(series: Mapping[str, Sequence[float]], *, sure: bool = False) -> Table:
    """Return n and the percentiles of each series, in milliseconds.

    Args:
        series: name -> durations.
        sure: whether each percentile has its 95 % interval behind it; otherwise those of whole
            frames stand in rows of their own.
    """
    table = [["milliseconds", "n", *COLUMNS]]
    for name, values in series.items():
        figures = summary(values)
        between = intervals(values) if sure else {}
        cells = [_cell(figures[key], between.get(key)) for key in COLUMNS]
        table.append([name, str(figures["n"]), *cells])
        if name in WHOLE and not sure:
            table += _interval_rows(values)
    return table


def _interval_rows(values: Sequence[float]) -> Table:
    sides = list(intervals(values).values())
    return [
        [words, "", *(number(side[k]) for side in sides), ""]
        for k, words in enumerate(("  95 % sure: from", "  95 % sure: to"))
    ]


def _cell(value: float | None, between: tuple[float | None, float | None] | None) -> str:
    if value is None or between is None:
        return number(value)
    return f"{number(value)} ({number(between[0])} to {number(between[1])})"


def stage_table(stages: Mapping[str, Any]) -> Table:
    """Return each part beside its reference."""
    head = ["one thread", "CPU ms", "reference ms", "ratio", "wall ratio", "blocks"]
    table = [head]
    for name, part in stages["parts"].items():
        cpu, wall = (part["ratios"][clock] for clock in CLOCKS)
        table.append(
            [
                name,
                number(part["part_ms"]["cpu"], 3),
                number(part["reference_ms"]["cpu"], 3),
                number(float(np.median(cpu)), 3),
                number(float(np.median(wall)), 3),
                str(len(cpu)),
            ]
        )
    return table


def cold_table(starts: Sequence[ColdStart]) -> Table:
    """Return what fresh processes took."""
    table = [["cold start, ms", "n", "median", "max"]]
    for key, words in (
        ("import_ms", "import rille"),
        ("load_ms", "verify, load, golden images"),
        ("first_frame_ms", "first frame"),
        ("total_ms", "import to first result"),
        ("process_ms", "whole process"),
    ):
        spent = [start.to_json()[key] for start in starts]
        row = [words, str(len(spent)), number(float(np.median(spent)), 1), number(max(spent), 1)]
        table.append(row)
    return table


def soak_table(soak: Soak) -> Table:
    """Return the minutes of a soak."""
    table = [["minute", "n", "p50", "p99", "max", "floor p50", "misses", "C", "throttled", "MB"]]
    for k, minute in enumerate(soak.minutes):
        ages, after = minute.ages, minute.after
        table.append(
            [
                str(k + 1),
                str(ages["n"]),
                *(number(ages[key]) for key in ("p50", "p99", "max")),
                number(minute.floor_ms),
                str(minute.misses),
                number(after.strain.celsius, 1),
                ", ".join(minute.throttled) or "no",
                number(after.resident_mb, 1),
            ]
        )
    return table


def drift_table(soak: Soak) -> Table:
    """Return what creeps in a soak."""
    table = [["drift", "slope", "95 % interval", ""]]
    for name, found in soak.drifts.items():
        between = f"{number(found.low, 4)} to {number(found.high, 4)}"
        words = "grows" if found.drifts else "" if found.low is not None else "too short to say"
        table.append(
            [name, number(found.each, 4), between if found.low is not None else "-", words]
        )
    return table


def change_table(changes: Sequence[Change]) -> Table:
    """Return what changed since the baseline."""
    table = [["against the baseline", "clock", "change", "99 % interval", "limit", ""]]
    for change in changes:
        words = "SLOWER" if change.slower else "noise could hide a slow-down" * change.unclear
        table.append(
            [
                change.part,
                change.clock,
                f"{100 * change.change:+.1f} %",
                f"{100 * change.low:+.1f} to {100 * change.high:+.1f} %",
                f"{100 * change.limit:g} %",
                words,
            ]
        )
    return table


def fact_table(record: BenchRecord) -> Table:
    """Return where and how it was measured."""
    machine, before, after = record.machine, record.before, record.after
    plan = record.closed.plan
    width, height = record.identity["size"]
    bundles = [f"{name} {digest[:16]}" for name, digest in record.identity["bundles"].items()]
    heat = " to ".join(number(m.strain.celsius, 1) for m in (before, after))
    flags = sorted({*before.strain.throttled, *after.strain.throttled})
    return [
        ["", ""],
        ["board", f"{machine.board}, {machine.cores} usable cores"],
        ["system", machine.system],
        ["governor, power mode", f"{machine.governor}; {machine.power_mode}"],
        ["load before, after", f"{before.load:.1f}, {after.load:.1f}"],
        ["temperature before, after", f"{heat} C" if "-" not in heat else "unknown"],
        ["throttled", ", ".join(flags) or "nothing reported"],
        ["networks", f"{plan}; {', '.join(sorted(set(record.identity['backends'].values())))}"],
        ["bundles", ", ".join(bundles)],
        ["frames", f"{width} x {height}, SHA-256 {record.identity['data'][:16]}"],
        ["versions", ", ".join(f"{name} {v}" for name, v in machine.versions.items())],
        ["command", record.command],
    ]
