"""One page about a bundle: what it says of itself, and what was measured here."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import rille
from rille.bundle import Bundle
from rille.files import write_whole
from rille.report.calibration import reliability, risk_coverage
from rille.report.facts import facts, megabytes
from rille.report.measured import Measured
from rille.report.style import card_row, html_page
from rille.report.svg import Axis, Chart, axis_over, legend, series_colour

_STYLE = """figure { margin:0; } td { overflow-wrap:anywhere; } td.word { text-align:left; }
td:first-child { white-space:nowrap; } .golden img { image-rendering:auto; }
"""


def write_bundle_page(path: Path, bundle: Bundle, measured: Mapping[str, Measured]) -> None:
    """Write the page, complete or not at all.

    Args:
        path: the file.
        bundle: verified.
        measured: variant -> what was measured.

    Raises:
        SinkError: it cannot be written.
    """
    body = "".join(
        [
            f"<h1>{html.escape(bundle.name)} {html.escape(bundle.manifest.version)}</h1>",
            f'<p class="sub">{html.escape(bundle.manifest.summary)}</p>',
            card_row(_cards(bundle, measured)),
            "<h2>The bundle</h2>",
            _rows(facts(bundle)),
            _parity(bundle.manifest.metrics),
            _calibration(bundle.manifest.metrics),
            *(_variant(name, found) for name, found in measured.items()),
            "<h2>Golden images</h2>",
            '<p class="sub">Rendered, chosen because little separates one answer from another; run '
            "at start and in flight.</p>",
            _pictures(bundle),
            "<h2>Model card</h2>",
            f"<pre>{html.escape(bundle.files.get('MODEL_CARD.md', b'none').decode())}</pre>",
            f'<p class="sub">rille {rille.__version__}, {html.escape(bundle.where)}</p>',
        ]
    )
    write_whole(path, html_page(f"bundle {bundle.name}", body, _STYLE))


def _cards(bundle: Bundle, measured: Mapping[str, Measured]) -> list[tuple[str, str]]:
    name, _ = bundle.variant()
    found = measured[name]
    cards = [(megabytes(bundle), "all files")]
    if found.spent_ms:
        threads = min(found.spent_ms, key=lambda count: found.percentile(count, 0.5))
        cards.append(
            (f"{found.percentile(threads, 0.5):.2f} ms", f"{name} here, {threads} thread(s)")
        )
    for score, value in _scores(bundle.manifest.metrics, name).items():
        cards.append((f"{value:.3f}", score.replace("_", " ")))
    return cards[:6]


def _scores(metrics: Mapping[str, Any], form: str) -> dict[str, float]:
    parity = metrics.get("parity", {})
    found = parity.get(form, {}) if isinstance(parity, dict) else {}
    return dict(found.get("here", {})) if isinstance(found, dict) else {}


def _rows(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(
        f'<tr><td>{html.escape(name)}</td><td class="word">{html.escape(text)}</td></tr>'
        for name, text in rows
    )
    return f"<table>{cells}</table>"


def _parity(metrics: Mapping[str, Any]) -> str:
    """Return the scores of each form beside float, as a table and as a figure."""
    forms = {
        form: found
        for form, found in metrics.get("parity", {}).items()
        if isinstance(found, dict) and "here" in found and "float" in found
    }
    if not forms:
        return ""
    names = list(next(iter(forms.values()))["here"])
    rows, chart = [], Chart(Axis("score", 0, 1), Axis("", 0, len(names), marked=False), 960)
    chart.height = 60 + 34 * len(names)
    for place, name in enumerate(names):
        height = len(names) - place - 0.5
        exact = next(iter(forms.values()))["float"].get(name)
        cells = [name.replace("_", " "), "" if exact is None else f"{exact:.4f}"]
        points = [] if exact is None else [(exact, "float", series_colour(0))]
        for k, (form, found) in enumerate(forms.items(), 1):
            value = found["here"][name]
            cells.append(f"{value:.4f}")
            points.append((value, form, series_colour(k)))
        chart.rule((0, height), (1, height))
        for value, form, colour in points:
            chart.line([(value, height)], colour, f"{form}, {name}")
        chart.note(0.0, height, name.replace("_", " "))
        rows.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
    head = "".join(f"<th>{html.escape(word)}</th>" for word in ("", "float", *forms))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    seen = " It was trained on it too." if metrics.get("trained_on_this_split") else ""
    return (
        f'<h2>Parity</h2><p class="sub">Split {html.escape(str(metrics.get("split")))}, through '
        f"the runtime.{seen} {legend(['float', *forms])}</p><table><tr>{head}</tr>{body}</table>"
        f"{chart.svg()}"
    )


def _calibration(metrics: Mapping[str, Any]) -> str:
    for detail in metrics.values():
        found = detail.get("calibration") if isinstance(detail, dict) else None
        if isinstance(found, dict) and found.get("reliability"):
            return (
                '<h2>Calibration</h2><div class="pair">'
                f"{reliability(found['reliability'])}{risk_coverage(found)}</div>"
            )
    return ""


def _variant(name: str, found: Measured) -> str:
    """Return what was measured of one network."""
    parts = [f"<h2>{html.escape(name)}</h2>"]
    parts.append(f'<p class="sub">{"<br>".join(map(html.escape, found.lines()))}</p>')
    if found.anatomy is not None:
        rows = "".join(
            f"<tr><td>{html.escape(operation)}</td><td>{count}</td>"
            f"<td>{found.anatomy.outside.get(operation, '')}</td></tr>"
            for operation, count in found.anatomy.operations.items()
        )
        parts.append(
            "<table><tr><th>operation</th><th>how many</th><th>left outside of XNNPACK</th></tr>"
            f"{rows}</table>"
        )
    if found.spent_ms:
        parts.append(_latency(found))
    return "".join(parts)


def _latency(found: Measured) -> str:
    """Draw the time of an inference below which a share of them stays."""
    curves = {
        threads: [(100 * (k + 0.5) / len(spent), ms) for k, ms in enumerate(sorted(spent))]
        for threads, spent in found.spent_ms.items()
    }
    most = [ms for points in curves.values() for _, ms in points]
    chart = Chart(
        Axis("per cent of inferences", 0, 100), axis_over("milliseconds", most, from_zero=True)
    )
    for k, (threads, points) in enumerate(curves.items()):
        chart.line(points, series_colour(k), f"{threads} thread(s)", dots=False)
    names = [f"{threads} thread(s)" for threads in curves]
    return f'<p class="sub">{legend(names)}</p>{chart.svg()}'


def _pictures(bundle: Bundle) -> str:
    pictures = "".join(
        f'<img alt="{name}" src="data:image/png;base64,'
        f'{base64.b64encode(bundle.files[name]).decode()}">'
        for name in bundle.manifest.golden_images
    )
    return f'<div class="grid golden">{pictures}</div>' if pictures else "<p>None.</p>"
