"""The page itself: plain HTML, inline styles, SVG and pictures; nothing is fetched."""

from __future__ import annotations

import base64
import html
from pathlib import Path
from string import Template

from rille.files import write_whole
from rille.report.collect import Bin, RunRecord
from rille.report.style import card_row, html_page
from rille.stats import PipelineStats, shown

_WIDTH, _HEIGHT = 960, 200
_BODY = Template("""<h1>rille run</h1><p class="sub">$source</p>
$cards
<p>$account</p>
<h2>Latency</h2>
<p class="sub">Milliseconds. Age counts from capture to publication. A p99 of fewer than 1000 frames
is a rough figure, of fewer than 100 none.</p>
<table><tr><th>stage</th><th>n</th><th>p50</th><th>p95</th><th>p99</th><th>max</th></tr>$latency
</table>
<h2>Timeline</h2><p class="sub">Largest age per column of $width frame(s); the line is the deadline.
$key</p>$timeline
<h2>Level changes</h2>$changes
<h2>Labels</h2>$labels
<h2>Frames</h2><div class="grid">$pictures</div>
<h2>Configuration</h2><pre>$config</pre>
<p class="sub">$versions</p>
""")


def write_report(
    path: Path,
    *,
    source: str,
    stats: PipelineStats,
    record: RunRecord,
    config: str,
    versions: str,
) -> None:
    """Write the page, complete or not at all.

    Args:
        path: the file.
        source: what the frames came from.
        stats: figures of the pipeline.
        record: what was collected during the run.
        config: the resolved configuration as text.
        versions: what ran, one line.

    Raises:
        SinkError: it cannot be written.
    """
    totals = stats.totals
    body = _BODY.substitute(
        source=html.escape(source),
        cards=_cards(stats, record),
        account=html.escape(f"{totals}."),
        latency="".join(
            f"<tr><td>{html.escape(name)}</td><td>{n}</td>"
            + "".join(f"<td>{shown(ms)}</td>" for ms in figures)
            + "</tr>"
            for name, n, *figures in stats.rows()
        ),
        width=record.bins[0].frames if record.bins else 1,
        key=_key(),
        timeline=_timeline(record.bins, stats.frame_ms),
        changes=_changes(stats),
        labels=_labels(record),
        pictures="".join(
            f'<img alt="frame {index}" src="data:image/jpeg;base64,'
            f'{base64.b64encode(data).decode()}">'
            for index, data in record.pictures()
        ),
        config=html.escape(config),
        versions=html.escape(versions),
    )
    write_whole(path, html_page(f"rille run: {source}", body))


def _cards(stats: PipelineStats, record: RunRecord) -> str:
    totals = stats.totals
    published = totals.ok + totals.late
    per_frame = record.features / record.segmented if record.segmented else 0.0
    cards = [
        (f"{totals.captured}", "frames captured"),
        (f"{100 * totals.ok / max(totals.captured, 1):.1f} %", f"within {stats.frame_ms:g} ms"),
        (f"{stats.age.percentile(0.5):.1f} ms" if published else "none", "median age"),
        (f"{stats.age.max_ms:.1f} ms" if published else "none", "largest age"),
        (f"{per_frame:.1f}", "features a frame"),
        (f"{stats.change_count}", "level changes"),
    ]
    return card_row(cards)


def _key() -> str:
    kinds = (("ok", "in time"), ("late", "late"), ("lost", "dropped"), ("bad", "failed"))
    return " ".join(f'<span style="color:var(--{k})">&#9632;</span> {w}' for k, w in kinds)


def _timeline(bins: list[Bin], deadline_ms: float) -> str:
    """Draw one column a bin: height is the largest age, colour the worst that happened."""
    if not bins:
        return "<p>No frame was captured.</p>"
    top_ms = max(deadline_ms * 1.15, max(b.max_age_ms for b in bins) * 1.05)
    step = _WIDTH / len(bins)
    columns = []
    for k, b in enumerate(bins):
        colour = "bad" if b.failed else "late" if b.late else "lost" if b.dropped else "ok"
        high = max(3.0, b.max_age_ms / top_ms * _HEIGHT)
        share = f", stages shed in {b.shed}" if b.shed else ""
        columns.append(
            f'<rect x="{k * step:.2f}" y="{_HEIGHT - high:.1f}" width="{max(step * 0.85, 0.6):.2f}"'
            f' height="{high:.1f}" fill="var(--{colour})"><title>frame {b.first}: '
            f"{b.max_age_ms:.1f} ms, {b.late} late, {b.dropped} dropped, {b.failed} failed{share}"
            "</title></rect>"
        )
        if b.shed:
            columns.append(
                f'<rect x="{k * step:.2f}" y="{_HEIGHT + 3}" width="{max(step, 0.6):.2f}" '
                'height="5" fill="var(--late)"/>'
            )
    y = _HEIGHT - deadline_ms / top_ms * _HEIGHT
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 10}" role="img">'
        f'{"".join(columns)}<line x1="0" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" '
        'stroke="var(--ink)" stroke-dasharray="5 4" stroke-width="1"/>'
        f'<text x="6" y="{y - 5:.1f}" font-size="12" fill="var(--dim)">{deadline_ms:g} ms</text>'
        "</svg>"
    )


def _changes(stats: PipelineStats) -> str:
    if not stats.changes:
        levels = ", ".join(f"{level} {n}" for level, n in stats.levels.most_common()) or "none"
        return f"<p>None. Frames by level: {html.escape(levels)}.</p>"
    rows = "".join(
        f"<tr><td>{c.frame}</td><td>{c.before}</td><td>{c.after}</td><td>{c.reason}</td></tr>"
        for c in stats.changes[:50]
    )
    more = stats.change_count - min(50, len(stats.changes))
    tail = f"<p>and {more} more.</p>" if more else ""
    return f"<table><tr><th>frame</th><th>from</th><th>to</th><th>why</th></tr>{rows}</table>{tail}"


def _labels(record: RunRecord) -> str:
    total = sum(record.labels.values()) + record.abstained
    if not total:
        return "<p>No frame was classified.</p>"
    counts = [*record.labels.most_common(), ("abstained", record.abstained)]
    rows = "".join(
        f'<tr><td style="width:14rem">{html.escape(label)}</td><td style="width:4rem">{n}</td>'
        f'<td><div class="bar" style="width:{100 * n / total:.1f}%"></div></td></tr>'
        for label, n in counts
        if n
    )
    told = (
        f"<p>{record.unfamiliar} of {total} pictures are out of distribution: unlike those that "
        "the network was trained on, so that their labels say little.</p>"
        if record.unfamiliar
        else ""
    )
    return f"<table>{rows}</table>{told}"
