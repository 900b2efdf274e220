"""One run as a page: the timeline of frames, faults and events, every check, every figure."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from rille.report.style import card_row, html_page
from rille.report.svg import Axis, Chart, legend, series_colour

if TYPE_CHECKING:
    from rille.hil.observed import Observed
    from rille.hil.verdict import Verdict

_KINDS = ("ok", "late", "dropped", "failed")
_MOST = 4000
"""Frames that are drawn; of more, every k-th."""
_ROW = 0.06


def verdict_page(verdict: Verdict, observed: Observed) -> str:
    """Return the self-contained page of one run."""
    outcome = "passed" if verdict.passed else "FAILED"
    figures = verdict.figures
    cards = [
        (outcome, f"{len(verdict.checks)} checks"),
        (f"{figures.get('sent', 0)}", "frames sent"),
        (f"{figures.get('ok', 0)}", "published in time"),
        (_shown(figures.get("detect_s"), " s"), "until told of"),
        (_shown(figures.get("recover_s"), " s"), "until good again"),
        (_shown(figures.get("trip_p95_ms"), " ms"), "p95 there and back"),
    ]
    rows = "".join(
        f'<tr><td>{html.escape(check.name)}</td><td style="color:var(--'
        f'{"ok" if check.passed else "bad"})">{"held" if check.passed else "FAILED"}</td>'
        f'<td style="text-align:left">{html.escape(check.words)}</td></tr>'
        for check in verdict.checks
    )
    measured = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{_shown(value, '')}</td></tr>"
        for name, value in figures.items()
    )
    faults = "; ".join(str(fault) for fault in observed.scenario.fault) or "none"
    body = (
        f"<h1>{html.escape(verdict.scenario)}: {outcome}</h1>"
        f'<p class="sub">{html.escape(verdict.about)} Target {verdict.target} over {verdict.link}. '
        f"Faults: {html.escape(faults)}.</p>{card_row(cards)}"
        f"<h2>Timeline</h2><p class='sub'>{legend(_KINDS)} Milliseconds from the bench and back; "
        "bars: when a fault was there; dashed: events of the device.</p>"
        f"{timeline(observed)}<h2>Checks</h2><table>{rows}</table>"
        f"<h2>Figures</h2><table>{measured}</table>"
    )
    return html_page(f"{verdict.scenario}: {outcome}", body)


def _shown(value: float | int | None, unit: str) -> str:
    return "-" if value is None else f"{value:g}{unit}"


def timeline(observed: Observed) -> str:
    """Return the chart of one run: frames by state, faults as bars, events as dashed lines."""
    zero = observed.began_ns
    points: dict[str, list[tuple[float, float]]] = {kind: [] for kind in _KINDS}
    for record in observed.results[:: max(1, len(observed.results) // _MOST)]:
        sent = observed.sent_of(record)
        at_ns = record.received_ns if sent is None else sent.at_ns
        trip_ms = 0.0 if sent is None else (record.received_ns - sent.at_ns) / 1e6
        points[str(record.fields["state"])].append(((at_ns - zero) / 1e9, trip_ms))
    everything = [point for some in points.values() for point in some]
    last_s = max([(observed.ended_ns - zero) / 1e9, *(x for x, _ in everything)], default=1.0)
    first_s = min([0.0, *(x for x, _ in everything)])
    top_ms = max([y for _, y in everything], default=1.0) * 1.15 + 1.0
    chart = Chart(Axis("seconds", first_s, last_s + 0.1), Axis("ms", 0.0, top_ms))
    for k, span in enumerate(observed.spans):
        began_s = (span.began_ns - zero) / 1e9
        ended_s = last_s if span.ended_ns is None else (span.ended_ns - zero) / 1e9
        height = top_ms * (1 - _ROW * k)
        _bar(chart, began_s, max(ended_s, began_s + 0.02), height, str(span.fault))
    for at_ns, fields in observed.events:
        at_s = (at_ns - zero) / 1e9
        if first_s <= at_s <= last_s:
            chart.rule((at_s, 0.0), (at_s, top_ms))
            chart.note(at_s, top_ms * 0.02, str(fields["event"]))
    for k, kind in enumerate(_KINDS):
        _dots(chart, points[kind], series_colour(k), kind)
    return chart.svg()


def _bar(chart: Chart, began_s: float, ended_s: float, top: float, words: str) -> None:
    """Shade the time in which a fault was there, and name it at the top."""
    (x1, y1), (x2, y2) = chart.at(began_s, 0.0), chart.at(ended_s, top)
    chart.parts.append(
        f'<rect x="{x1:.1f}" y="{y2:.1f}" width="{x2 - x1:.1f}" height="{y1 - y2:.1f}" '
        f'fill="var(--bad)" fill-opacity="0.12"><title>{html.escape(words)}</title></rect>'
    )
    chart.note(began_s, top * 0.95, words)


def _dots(chart: Chart, points: list[tuple[float, float]], colour: str, name: str) -> None:
    for x, y in points:
        cx, cy = chart.at(x, y)
        chart.parts.append(
            f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="2.4" fill="{colour}"><title>{name}: '
            f"{y:.1f} ms at {x:.2f} s</title></circle>"
        )
