"""The look that all pages share: light and dark, nothing fetched."""

from __future__ import annotations

import html
from collections.abc import Iterable

_STYLE = """:root { --ink:#1c2230; --dim:#5f6878; --line:#d9dde4; --back:#fff; --panel:#f6f7f9;
  --ok:#2f9e5b; --late:#e08a00; --lost:#8a93a3; --bad:#d64545; --accent:#2f6fde; }
@media (prefers-color-scheme: dark) { :root { --ink:#e6e9ef; --dim:#9aa3b2; --line:#313846;
  --back:#12151b; --panel:#1a1f28; --ok:#4cc47a; --late:#ffb340; --lost:#7d8696; --bad:#ff6b6b;
  --accent:#6ea2ff; } }
body { font:15px/1.5 system-ui, sans-serif; color:var(--ink); background:var(--back);
  max-width:1000px; margin:2rem auto; padding:0 1rem; }
h1 { font-size:1.5rem; margin:0 0 .2rem; } h2 { font-size:1.1rem; margin:2rem 0 .6rem; }
p.sub { color:var(--dim); margin:.1rem 0 1rem; overflow-wrap:anywhere; }
table { border-collapse:collapse; font-variant-numeric:tabular-nums; width:100%; }
th,td { text-align:right; padding:.28rem .6rem; border-bottom:1px solid var(--line); }
th:first-child,td:first-child { text-align:left; } th { color:var(--dim); font-weight:600; }
.cards { display:grid; grid-template-columns:repeat(auto-fit,minmax(140px,1fr)); gap:.7rem; }
.card { background:var(--panel); border-radius:8px; padding:.7rem .9rem; }
.card b { display:block; font-size:1.45rem; font-weight:650; } .card span { color:var(--dim); }
svg { width:100%; height:auto; background:var(--panel); border-radius:8px; }
.grid { display:grid; grid-template-columns:repeat(auto-fill,minmax(300px,1fr)); gap:.8rem; }
.grid img { width:100%; border-radius:6px; display:block; }
.bar { background:var(--accent); height:.8rem; border-radius:3px; }
:root { --s1:#2f6fde; --s2:#e08a00; --s3:#2f9e5b; --s4:#b0489c; --s5:#0e9aa7; --s6:#8a6d3b; }
@media (prefers-color-scheme: dark) { :root { --s1:#6ea2ff; --s2:#ffb340; --s3:#4cc47a;
  --s4:#e07fd0; --s5:#3fc7d4; --s6:#c9a66b; } }
h3 { font-size:.95rem; margin:1.2rem 0 .4rem; } .key { margin-right:1rem; white-space:nowrap; }
.pair { display:grid; grid-template-columns:repeat(auto-fit,minmax(340px,1fr)); gap:1rem; }
pre { background:var(--panel); padding:.8rem; border-radius:8px; overflow:auto; font-size:13px; }
"""


def html_page(title: str, body: str, style: str = "") -> str:
    """Return a self-contained page.

    Args:
        title: plain text.
        body: HTML.
        style: CSS rules after the common ones.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title>\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>\n{_STYLE}{style}</style></head><body>\n{body}</body></html>\n"
    )


def card_row(cards: Iterable[tuple[str, str]]) -> str:
    """Return a row of panels, each a large figure and what it is; both plain text."""
    panels = (
        f'<div class="card"><b>{html.escape(figure)}</b><span>{html.escape(words)}</span></div>'
        for figure, words in cards
    )
    return f'<div class="cards">{"".join(panels)}</div>'
