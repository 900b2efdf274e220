"""A benchmark in words: for the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from rille.bench.arrivals import OpenResult
from rille.bench.closed import ClosedResult
from rille.bench.record import BenchRecord
from rille.bench.tables import (
    Table,
    change_table,
    cold_table,
    drift_table,
    fact_table,
    latency_table,
    number,
    soak_table,
    stage_table,
)

SHORT = "short run"


def text_of(record: BenchRecord) -> str:
    """Return the whole benchmark as lines for a terminal."""
    lines: list[str] = []
    for title, notes, tables in sections(record, sure=False):
        lines += ["", title] if lines else [title]
        for table in tables:
            lines += aligned(table)
        lines += notes
    return "\n".join(lines)


def markdown_of(record: BenchRecord) -> str:
    """Return the whole benchmark as Markdown, every percentile with its 95 % interval."""
    parts = ["# rille bench"]
    for title, notes, tables in sections(record, sure=True):
        parts.append(f"## {title}")
        parts += ["\n".join(_piped(table)) for table in tables]
        parts += notes
    return "\n\n".join(parts) + "\n"


Section = tuple[str, list[str], list[Table]]
"""Title, notes, tables."""


def sections(record: BenchRecord, *, sure: bool) -> Iterator[Section]:
    """Yield what was measured, part by part.

    Args:
        record: the benchmark.
        sure: whether percentiles have their intervals behind them.
    """
    closed = record.closed
    yield (
        _titled("Closed loop: the next frame when the last is done", closed.short),
        list(closed_notes(closed)),
        [latency_table(closed.series, sure=sure)],
    )
    if record.open is not None:
        yield (
            _titled(f"Open loop: {record.open.fps:g} frames a second", record.open_short),
            list(open_notes(record.open)),
            [latency_table(record.open.series, sure=sure)],
        )
    yield (
        "Parts beside fixed work",
        [_seen(record)],
        [stage_table(record.stages)],
    )
    if record.cold:
        yield "Cold start in fresh processes, files in memory", [], [cold_table(record.cold)]
    if record.soak is not None:
        throttled = ", ".join(record.soak.throttled) or "nothing reported"
        yield (
            _titled("Soak", record.soak_short),
            [f"Throttled: {throttled}."],
            [soak_table(record.soak), drift_table(record.soak)],
        )
    if record.changes:
        yield f"Against {record.baseline}", [verdict(record)], [change_table(record.changes)]
    yield _titled("Where", closed.short), [], [fact_table(record)]


def _seen(record: BenchRecord) -> str:
    found = record.repeats
    return (
        f"{found.frames} frames never seen before, each twice: the second time took "
        f"{found.ratios['frame']:.2f} of the first; answers while timing were those of plain runs, "
        "to the bit"
    )


def _titled(title: str, short: bool) -> str:
    return f"{title} ({SHORT})" if short else title


def closed_notes(closed: ClosedResult) -> Iterator[str]:
    """Yield what to read from the closed loop."""
    for what, ratio in closed.ratios().items():
        yield f"pipeline / floor         {what}: {ratio:.3f}"
    rates = closed.rates()
    yield (
        f"frames/s, one at a time  pipeline: {rates['pipeline']:.1f}, "
        f"fastest plain loop: {rates['fastest plain loop']:.1f}"
    )
    low, high = closed.p50_interval
    yield f"pipeline p50 {low:.3f} to {high:.3f} ms with 95 % confidence"
    yield (
        f"{closed.misses} of {len(closed.pipeline)} frames beyond the budget, "
        f"{closed.shed} with a stage left out; {closed.plan}"
    )


def open_notes(found: OpenResult) -> Iterator[str]:
    """Yield what became of the frames that arrived."""
    yield f"frames: {found.totals}"
    shed = ", ".join(f"{stage} {n}" for stage, n in found.totals.shed.items()) or "none"
    joules = "unknown (no power sensor)" if found.joules is None else f"{found.joules:.3f}"
    yield (
        f"{found.misses} without an answer in time; stages left out: {shed}; whole board, "
        f"joules for each published frame: {joules}"
    )
    yield (
        "ages count from the scheduled capture; arrival times were fixed before the first frame, "
        f"and it took {number(found.seconds, 1)} s"
    )


def verdict(record: BenchRecord) -> str:
    """Return what came of the comparison with a baseline."""
    slower = [
        f"{c.part} {100 * c.change:+.1f} % ({c.clock}, {100 * c.low:+.1f} to {100 * c.high:+.1f})"
        for c in record.slower
    ]
    if slower:
        return f"REGRESSION: {'; '.join(slower)}"
    unclear = sorted({change.part for change in record.changes if change.unclear})
    doubt = f"; too noisy to be sure: {', '.join(unclear)}" if unclear else ""
    return f"no part is slower beyond the noise{doubt}"


def aligned(table: Table) -> list[str]:
    """Return a table as lines of equal columns; a row of empty cells is left out."""
    widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
    lines = []
    for row in table:
        if not any(row):
            continue
        last = len(row) == 2
        cells = [row[0].ljust(widths[0])]
        cells += [
            cell if last else cell.rjust(wide)
            for cell, wide in zip(row[1:], widths[1:], strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _piped(table: Table) -> list[str]:
    rows = [[cell.replace("|", "\\|") for cell in row] for row in table]
    rows.insert(1, ["---"] + ["---:"] * (len(table[0]) - 1))
    return [f"| {' | '.join(row)} |" for row in rows]
