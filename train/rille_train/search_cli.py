"""`rille search`: a recipe and what may vary in, a table of trials out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rille_train.cli import add_training_options, material_of, workers_of


def main(arguments: list[str]) -> int:
    """Run `rille search`; see `rille search --help`.

    Returns:
        The exit code: 0 when every trial has a score, 1 when some failed.
    """
    from rille_train.recipe import recipe_names
    from rille_train.trials.search import Axis, search

    parser = _parser(recipe_names())
    options = parser.parse_args(arguments)
    if options.data is None:
        parser.error("--data ROOT is needed")
    out = options.out or Path("runs") / f"search-{Path(options.recipe).stem}"
    table = search(
        options.recipe,
        options.settings,
        [Axis.parse(text) for text in options.over],
        material_of(options),
        out,
        trials=options.trials,
        folds=options.folds,
        by=options.fold_by,
        workers=workers_of(options),
    )
    print("\n".join(_lines(table)))
    best = table["trials"][0]
    sys.stderr.write(f"wrote {out / 'trials.json'}\n")
    if best["score"] is not None:
        chosen = " ".join(f"--set {setting}" for setting in best["settings"])
        sys.stderr.write(f"best: rille train {options.recipe} --data {options.data} {chosen}\n")
    return int(any(row["error"] for row in table["trials"]))


def _parser(names: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rille search",
        description="Train a recipe with different settings, each on its own, and rank them. "
        "Finished trials are kept: a killed search goes on in the same --out.",
    )
    parser.add_argument(
        "recipe", metavar="RECIPE", help=f"a .toml file, or one of: {', '.join(names)}"
    )
    parser.add_argument(
        "--over",
        action="append",
        default=[],
        metavar="KEY=VALUES",
        help="what varies: fit.learning_rate=1e-4..1e-3:log, fit.epochs=4..12, or a choice such as "
        "model.dropout=0.1,0.3; may be repeated",
    )
    parser.add_argument(
        "--trials",
        type=int,
        metavar="N",
        help="points drawn at random (default: every combination, where all are choices)",
    )
    add_training_options(parser)
    return parser


def _lines(table: dict[str, Any]) -> list[str]:
    """Return the table for people, the best trial first."""
    over, deciding = table["over"], table["deciding"]
    width = max([len(key) for key in over] + [10])
    lines = [f"{'trial':10s} {deciding or 'score':>12s} {'+-':>7s} " + _cells(over, width)]
    for row in table["trials"]:
        if row["score"] is None:
            score = f"{'failed':>12s} {'':7s}"
        else:
            spread = row["deviation"].get(row["deciding"])
            score = f"{row['score']:12.4f} {'' if spread is None else f'{spread:.4f}':>7s}"
        values = [setting.partition("=")[2] for setting in row["settings"]]
        lines.append(f"{row['name']:10s} {score} {_cells(values, width)}")
        if row["error"]:
            lines.append(f"           {row['error']}")
    return lines


def _cells(values: list[str], width: int) -> str:
    return " ".join(f"{value:>{width}s}" for value in values)
