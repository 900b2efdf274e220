"""A benchmark as one self-contained page: tables, histogram, percentile curves, time line."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np

from rille.bench.record import BenchRecord
from rille.bench.tables import Table, number
from rille.bench.words import SHORT, sections
from rille.latency import summary
from rille.report.style import card_row, html_page
from rille.report.svg import Axis, Chart, axis_over, legend, series_colour

_BINS, _COLUMNS = 60, 240
Series = Mapping[str, Sequence[float]]


def page_of(record: BenchRecord) -> str:
    """Return the page; nothing is fetched, there is no script."""
    closed = record.closed
    label = f" ({SHORT})" if closed.short else ""
    parts = [
        f'<h1>rille bench{label}</h1><p class="sub">{html.escape(record.machine.board)}; '
        f"{html.escape(record.command)}</p>",
        card_row(_cards(record)),
        "<h2>Capture to publication</h2>",
        _histogram(_ages(record)),
        "<h2>Percentiles</h2>"
        '<p class="sub">Each step to the right is ten times rarer: 1 is p90, 2 is p99, 3 is p99.9.'
        "</p>",
        _curves({**_ages(record), f"floor, {closed.plan.threads} thread(s)": closed.floor}),
        '<h2>Time line</h2><p class="sub">Median and largest age of each stretch of frames.</p>',
        _time_line(closed.pipeline),
    ]
    for title, notes, tables in sections(record, sure=True):
        parts.append(f"<h2>{html.escape(title)}</h2>")
        parts += [_table(table) for table in tables]
        parts += [f'<p class="sub">{html.escape(note)}</p>' for note in notes]
    return html_page("rille bench", "\n".join(parts))


def _ages(record: BenchRecord) -> dict[str, list[float]]:
    ages = {"closed loop": record.closed.pipeline}
    if record.open is not None and record.open.ages:
        ages[f"open loop, {record.open.fps:g} a second"] = record.open.ages
    return ages


def _cards(record: BenchRecord) -> list[tuple[str, str]]:
    figures = summary(record.closed.pipeline)
    cards = [
        (f"{number(figures['p50'])} ms", "median, closed loop"),
        (f"{number(figures['p99'])} ms", "p99, closed loop"),
        (f"{record.closed.ratio:.2f}", "times the floor, same threads"),
    ]
    if record.open is not None:
        found = record.open
        share = 100 * found.misses / max(found.totals.captured, 1)
        cards.append((f"{share:.1f} %", f"missed at {found.fps:g} frames a second"))
    if record.changes:
        cards.append((str(len(record.slower)), "parts slower than the baseline"))
    return cards


def _histogram(series: Series) -> str:
    """Draw shares of frames by age, up to the 99.5th percentile of all."""
    every = np.concatenate([np.asarray(values, np.float64) for values in series.values()])
    low, high = float(every.min()), float(np.quantile(every, 0.995))
    edges = np.linspace(low, max(high, low + 1e-3), _BINS + 1)
    shares = {
        name: np.histogram(values, edges)[0] / max(len(values), 1)
        for name, values in series.items()
    }
    top = max(float(share.max()) for share in shares.values())
    chart = Chart(
        Axis("age, ms", float(edges[0]), float(edges[-1])),
        axis_over("share of frames", [top], from_zero=True),
    )
    for k, (name, share) in enumerate(shares.items()):
        middle = (edges[:-1] + edges[1:]) / 2
        chart.line(
            list(zip(middle.tolist(), share.tolist(), strict=True)),
            series_colour(k),
            name,
            dots=False,
        )
    return legend(list(series)) + chart.svg()


def _curves(series: Series) -> str:
    """Draw percentiles over how rare they are, as far as the samples hold them."""
    lines = {name: _curve(values) for name, values in series.items()}
    points = [point for line in lines.values() for point in line]
    chart = Chart(
        axis_over("nines", [x for x, _ in points]),
        axis_over("ms", [y for _, y in points], from_zero=True),
    )
    for k, (name, line) in enumerate(lines.items()):
        chart.line(line, series_colour(k), name, dots=False)
    return legend(list(series)) + chart.svg()


def _curve(values: Sequence[float]) -> list[tuple[float, float]]:
    ordered = np.sort(np.asarray(values, np.float64))
    n = len(ordered)
    nines = np.arange(0.0, math.log10(n) + 1e-9, 0.05) if n > 1 else np.zeros(1)
    ranks = np.clip(np.ceil((1 - 10.0**-nines) * n).astype(int) - 1, 0, n - 1)
    return list(zip(nines.tolist(), ordered[ranks].tolist(), strict=True))


def _time_line(ages: Sequence[float]) -> str:
    stretches = np.array_split(np.asarray(ages, np.float64), min(_COLUMNS, len(ages)))
    firsts = np.cumsum([0, *(len(s) for s in stretches[:-1])]).tolist()
    lines = {
        "median": [float(np.median(s)) for s in stretches],
        "largest": [float(s.max()) for s in stretches],
    }
    chart = Chart(
        Axis("frame", 0.0, float(max(len(ages) - 1, 1)), whole=True),
        axis_over("age, ms", lines["largest"], from_zero=True),
    )
    for k, (name, values) in enumerate(lines.items()):
        chart.line(list(zip(firsts, values, strict=True)), series_colour(k), name, dots=False)
    return legend(list(lines)) + chart.svg()


def _table(table: Table) -> str:
    head, *rows = [[html.escape(cell) for cell in row] for row in table]
    first = "".join(f"<th>{cell}</th>" for cell in head) if any(head) else ""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{first}</tr>{body}</table>" if first else f"<table>{body}</table>"
