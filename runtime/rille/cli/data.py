"""`rille data`: what a data set holds, and whether its splits can be trusted."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rille.datasets import open_dataset
from rille.datasets.check import Finding, Report, check, many
from rille.files import write_whole

_NAMED = 8
"""How many names a finding shows; the JSON file has all."""
_COUNTED = {
    "classes": ("images", "share"),
    "yes-no": ("true", "of clear"),
    "boxes": ("boxes", "an image"),
    "masks": ("images", "pixels"),
}


def main(arguments: list[str]) -> int:
    """Run `rille data`; see `rille data --help`."""
    parser = argparse.ArgumentParser(prog="rille data", description="Look at labelled data sets.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    look = verbs.add_parser(
        "check",
        help="classes, sizes, damaged files, leaks between splits",
        description="Say what each split holds and what is wrong. Exit code 0: usable; 1: splits "
        "share images or groups, or a file cannot be used, each named; 3: no data set, or a label "
        "that cannot be understood.",
    )
    look.add_argument("root", type=Path, help="folder of the data set, in its published layout")
    look.add_argument("--task", default="", help="what it is wanted for, where it serves several")
    look.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    look.add_argument(
        "--fast", action="store_true", help="read only the headers of images, and no masks"
    )
    options = parser.parse_args(arguments)
    dataset = open_dataset(options.root, options.task)
    report = check(
        dataset,
        fast=options.fast,
        progress=_progress if sys.stderr.isatty() else lambda done, total: None,
    )
    print("\n".join(text(report, options.root, options.fast)))
    if options.json is not None:
        write_whole(options.json, json.dumps(asdict(report), indent=1) + "\n")
    return 1 if report.troubles else 0


def _progress(done: int, total: int) -> None:
    if done % 10 == 0 or done == total:
        end = "\n" if done == total else ""
        print(f"\r{done}/{total} images", end=end, file=sys.stderr, flush=True)


def text(report: Report, root: Path, fast: bool = False) -> Iterable[str]:
    """Yield the report as lines of plain text.

    Args:
        report: what was found.
        root: folder of the data set.
        fast: whether it was made from headers alone.
    """
    yield f"{report.dataset} in {root}: {report.task}, {many(report.classes, 'class')}"
    yield from _splits(report)
    yield ""
    yield from _table(report)
    yield from _notes("note", report.notes)
    yield from _notes("TROUBLE", report.troubles)
    yield ""
    if fast:
        yield "headers and labels only: no damaged or identical files looked for, no mask counted"
    yield _verdict(report)


def _verdict(report: Report) -> str:
    if not report.troubles:
        return "USABLE"
    found = "; ".join(trouble.what for trouble in report.troubles)
    return (
        f"NOT USABLE AS IT IS: {found}\n"
        "way out: replace or remove unusable files; bring what belongs together into one split, or "
        "take scores on the other as optimistic"
    )


def _splits(report: Report) -> Iterable[str]:
    """Yield counts, sizes and figures of each split."""
    for name, facts in report.splits.items():
        also = f" (also {', '.join(facts['also'])})" if facts["also"] else ""
        keys = ", ".join(many(n, kind) for kind, n in facts["keys"].items())
        yield f"{name + also:16s} {many(facts['images'], 'image')}; {keys}"
        if facts["sizes"]:
            modes = ", ".join(f"{mode} {n}" for mode, n in facts["modes"].items())
            yield f"{'':16s} {_sizes(facts['sizes'])}{'; ' + modes if modes else ''}"
        yield from (f"{'':16s} {line}" for line in _figures(facts["balance"]))


def _sizes(sizes: Sequence[dict[str, int]]) -> str:
    most = ", ".join(f"{s['width']} x {s['height']} px {s['images']}" for s in sizes[:3])
    if len(sizes) <= 3:
        return most
    width, height = (
        f"{min(s[side] for s in sizes)}-{max(s[side] for s in sizes)}"
        for side in ("width", "height")
    )
    return f"{len(sizes)} sizes, {width} x {height} px, most often {most}"


def _figures(balance: dict[str, Any]) -> Iterable[str]:
    """Yield what is known beyond the classes: of boxes their number and size, of masks the rest."""
    if "boxes_per_image" in balance:
        each = "{min} / {median:g} / {max}".format(**balance["boxes_per_image"])
        yield f"boxes an image {each} (min / median / max)"
    for side in ("width", "height"):
        if balance.get(f"{side}_px"):
            values = " / ".join(f"{v:.0f}" for v in balance[f"{side}_px"].values())
            yield f"{side} of the boxes {values} px (5 / 50 / 95 %)"
    if balance.get("ignored_share"):
        yield f"{100 * balance['ignored_share']:.1f} % of the pixels ignored"
    if balance.get("empty_images"):
        yield f"{many(balance['empty_images'], 'image')} with nothing labelled"


def _table(report: Report) -> Iterable[str]:
    """Yield one line a class with count and share in each split, and how val differs from train."""
    kinds = [facts["balance"] for facts in report.splits.values()]
    names = list(report.splits)
    full = [facts["balance"]["kind"] for facts in report.splits.values() if facts["images"]]
    kind = (full or ["classes"])[0]
    count, share = _COUNTED[kind]
    unclear = kind == "yes-no"
    wide = 26 if unclear else 18
    yield f"{'':28s}" + "".join(f" {name:>{wide}s}" for name in names)
    heads = f" {count:>8s} {share:>9s}" + (f" {'unclear':>7s}" if unclear else "")
    yield f"{'class':28s}" + heads * len(names)
    for rows in zip(*(balance["classes"] for balance in kinds), strict=True):
        cells = "".join(_cell(row, kind) for row in rows)
        mark = " *" if rows[0]["name"] in report.uneven else ""
        yield f"{rows[0]['id']:3d} {rows[0]['name'][:24]:24s}{cells}{mark}"
    if report.uneven:
        off = f"{len(report.uneven)} of {many(report.classes, 'class')}"
        yield f"* share in val more than 20 % off that in train: {off}"


def _cell(row: dict[str, Any], kind: str) -> str:
    count = "-" if row["count"] is None else f"{row['count']}"
    share = "-"
    if row["share"] is not None:
        share = f"{row['share']:.2f}" if kind == "boxes" else f"{100 * row['share']:.2f} %"
    unclear = f" {row.get('unclear', '-'):>7}" if kind == "yes-no" else ""
    return f" {count:>8s} {share:>9s}{unclear}"


def _notes(word: str, findings: Sequence[Finding]) -> Iterable[str]:
    for finding in findings:
        yield f"{word}: {finding.what}"
        yield from (f"    {name}" for name in finding.names[:_NAMED])
        if len(finding.names) > _NAMED:
            yield f"    and {len(finding.names) - _NAMED} more (--json FILE has all)"
