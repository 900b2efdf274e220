"""One page about what flipped bits do."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rille.files import write_whole
from rille.report.style import card_row, html_page
from rille.report.svg import Axis, Chart, legend, series_colour

_STYLE = "td { white-space:nowrap; } .wide { overflow-x:auto; }"
Share = Mapping[str, Any]


def write_page(path: Path, record: Mapping[str, Any]) -> None:
    """Write the page, complete or not at all.

    Args:
        path: the file.
        record: what `rille seu` keeps as JSON.

    Raises:
        SinkError: it cannot be written.
    """
    networks = record["networks"]
    names = [_name(one) for one in networks]
    body = "".join(
        [
            "<h1>Flipped bits</h1>",
            f'<p class="sub">{html.escape(str(record["source"]))}, {record["frames"]} frames a '
            f"trial, seed {record['seed']}; rille {html.escape(record['rille'])}. Injected in "
            "software into the bytes a network is built from; never measured under a beam.</p>",
            card_row(_cards(networks)),
            "<h2>One flip anywhere in the weights</h2>",
            '<p class="sub">Wilson 95 % intervals. An answer changed: another label, or a mask '
            "whose Dice to the clean one is below .99, on any frame. Silent: no guard on the "
            "outputs refused it.</p>",
            _overall(networks),
            f'<h2>By bit</h2><p class="sub">{legend(names)} Share of flips that change an answer. '
            "Bit 0 is the lowest; in int8 bit 7 is the sign, in float32 bits 23 to 30 are the "
            "exponent. Biases of int8 networks have 32 bits.</p>",
            _curve(networks, "by_bit", "bit", lambda key: float(key)),
            f'<h2>By number of flips at once</h2><p class="sub">{legend(names)}</p>',
            _curve(networks, "by_dose", "flips at once, powers of ten", _power),
            "<h2>By layer</h2>",
            f'<p class="sub">{legend(names)} In the order of the network.</p>',
            _curve(networks, "by_layer", "operation", lambda key: float(key.split()[0])),
            "<h2>Who notices</h2>",
            *(_defences(one) for one in networks),
            "<h2>Outside of the weights</h2>",
            '<p class="sub">Shapes, operations, scales: loaded without the check of the digest, '
            "which refuses every one of these.</p>",
            _structure(networks),
            *(_layers(one) for one in networks),
        ]
    )
    write_whole(path, html_page("rille seu", body, _STYLE))


def _name(one: Mapping[str, Any]) -> str:
    return f"{one['bundle']} {one['variant']}"


def _cards(networks: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [
        (_percent(one["overall"]["silent"]["share"]), f"silent, {_name(one)}")
        for one in networks[:6]
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _interval(one: Share) -> str:
    if one["share"] is None:
        return "-"
    return (
        f"{100 * one['share']:.2f} % [{100 * one['low']:.2f}, {100 * one['high']:.2f}] "
        f"({one['count']}/{one['of']})"
    )


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(word)}</th>" for word in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{top}</tr>{lines}</table></div>'


def _overall(networks: Sequence[Mapping[str, Any]]) -> str:
    return _rows(
        ["network", "weight bits", "some output number", "an answer", "silently"],
        [
            [
                _name(one),
                f"{one['weight_bits']:,}",
                *(
                    _interval(one["overall"][what])
                    for what in ("numbers_changed", "answer_changed", "silent")
                ),
            ]
            for one in networks
        ],
    )


def _curve(
    networks: Sequence[Mapping[str, Any]], what: str, words: str, place: Callable[[str], float]
) -> str:
    """Draw the share of changed answers, with its interval, over a key."""
    points = [
        (k, place(key), rates["answer_changed"])
        for k, one in enumerate(networks)
        for key, rates in one[what].items()
        if rates["answer_changed"]["share"] is not None
    ]
    if not points:
        return "<p>Not tried.</p>"
    furthest = max(x for _, x, _ in points)
    top = max(rates["high"] for _, _, rates in points)
    axis = Axis(words, min(x for _, x, _ in points) - 0.5, furthest + 0.5, whole=True)
    chart = Chart(axis, Axis("share", 0.0, max(top * 1.05, 0.01)))
    for k, one in enumerate(networks):
        own = [(x, rates) for which, x, rates in points if which == k]
        chart.line([(x, r["share"]) for x, r in own], series_colour(k), _name(one))
        for x, rates in own:
            chart.rule((x, rates["low"]), (x, rates["high"]))
    return chart.svg()


def _power(key: str) -> float:
    return math.log10(float(key))


def _defences(one: Mapping[str, Any]) -> str:
    found = one["defences"]
    rows = []
    for name in ("checksums of the source", "golden images", "output guards"):
        entry = found[name]
        frames = entry["frames_harmful"]
        if frames["median"] is None:
            frames = entry["frames"]
        waits = ["-" if frames[w] is None else f"{frames[w]:.0f}" for w in ("median", "p95", "max")]
        rows.append([name, _interval(entry["of_all"]), _interval(entry["of_harmful"]), *waits])
    vote = found["vote"]
    text = (
        f"Checksums: {one['scrub_kb']} kB a frame, of the bytes, not of what an engine keeps. "
        f"Golden images: one every {one['check_every']} frames, {one['golden_images']} in turn. "
        f"An engine's own copy lives {one['rebuild_s']:g} s at most: then it is built anew."
    )
    if vote["wrong_frames"]["of"]:
        text += (
            f" Wrong labels: {_interval(vote['wrong_frames'])} of all frames, "
            f"{_interval(vote['wrong_frames_with_vote'])} with a vote of three in five."
        )
    head = ["defence", "of all flips", "of those that change an answer", "frames p50", "p95", "max"]
    return (
        f"<h3>{html.escape(_name(one))}</h3>{_rows(head, rows)}"
        f'<p class="sub">{html.escape(text)}</p>'
    )


def _structure(networks: Sequence[Mapping[str, Any]]) -> str:
    kinds = ("refused", "crashed", "hung", "answer_changed")
    rows = [
        [_name(one), *(_interval(one["structure"][kind]) for kind in kinds)] for one in networks
    ]
    head = ["network", "refused when loaded", "crashed the child", "hung", "an answer changed"]
    return _rows(head, rows)


def _layers(one: Mapping[str, Any]) -> str:
    rows = [
        [layer, _interval(rates["answer_changed"]), _interval(rates["silent"])]
        for layer, rates in one["by_layer"].items()
    ]
    head = ["operation", "an answer changed", "silently"]
    return f"<h3>{html.escape(_name(one))}</h3>{_rows(head, rows)}"
