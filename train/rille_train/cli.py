"""`rille train`: a recipe and a data set in, a run folder out."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rille_train.recipe import Recipe
    from rille_train.trials import Material, Workers


def main(arguments: list[str]) -> int:
    """Run `rille train`; see `rille train --help`.

    Returns:
        The exit code: 0 when the run folder is complete.
    """
    # TensorFlow's start-up chatter would bury the progress lines.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from rille_train.recipe import read_recipe, recipe_names

    parser = _parser(recipe_names())
    options = parser.parse_args(arguments)
    if options.report is not None:
        return _redraw(options.report)
    if options.recipe is None or options.data is None:
        parser.error("RECIPE and --data ROOT are needed (or --report RUN alone)")
    recipe = read_recipe(options.recipe, options.settings)
    out = options.out or Path("runs") / recipe.name
    if options.folds is not None:
        return _cross_validate(recipe, options, out)
    from rille_train.loop import train

    result = train(
        recipe,
        options.data,
        out,
        options.weights,
        options.extra,
        skip_unreadable=options.skip_unreadable,
    )
    for name, value in result.scores.items():
        print(f"{name:18s} {value:.4f}")
    sys.stderr.write(
        f"wrote {out}, with {out / 'report.html'}; next: rille export {out} --data {options.data}\n"
    )
    return 0


def _parser(names: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rille train",
        description="Train a network from a recipe. Continues a killed run in the same --out.",
        epilog="The environment variable KERAS_BACKEND chooses tensorflow, jax or torch.",
    )
    parser.add_argument(
        "recipe",
        nargs="?",
        metavar="RECIPE",
        help=f"a .toml file, or one of: {', '.join(names)}",
    )
    add_training_options(parser)
    parser.add_argument(
        "--report", type=Path, metavar="RUN", help="only draw the report of a finished run again"
    )
    return parser


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add what every verb that trains takes: data, folder, weights, changes, folds, workers."""
    parser.add_argument("--data", type=Path, metavar="ROOT", help="data set folder")
    parser.add_argument("--out", type=Path, metavar="DIR", help="run folder (default: runs/RECIPE)")
    parser.add_argument(
        "--weights", type=Path, metavar="PATH", help="file or folder with backbone weights"
    )
    parser.add_argument(
        "--extra",
        action="append",
        default=[],
        type=Path,
        metavar="ROOT",
        help="further data set to draw training images from (data.extra_share); may be repeated",
    )
    parser.add_argument(
        "--skip-unreadable", action="store_true", help="leave damaged images out, and list them"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="KEY=VALUE",
        help="change the recipe, for example fit.epochs=3; may be repeated",
    )
    parser.add_argument(
        "--folds",
        type=int,
        metavar="N",
        help="cross-validate instead: N folds by group over both splits; 0 holds out each group",
    )
    parser.add_argument(
        "--fold-by", default="", metavar="KEY", help="what folds must not share, such as sol"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="folds or trials at once (default: 1)"
    )
    parser.add_argument(
        "--cpus",
        type=int,
        default=0,
        metavar="N",
        help="processor cores for each (default: those of this machine divided by --jobs)",
    )
    parser.add_argument(
        "--ray",
        nargs="?",
        const="auto",
        metavar="ADDRESS",
        help="on a Ray cluster instead: this machine's, the one at ADDRESS, or 'local'; data and "
        "--out must lie where all its machines see them",
    )


def material_of(options: argparse.Namespace) -> Material:
    """Return what a training reads, from the options."""
    from rille_train.trials import Material

    skip = options.skip_unreadable
    return Material(options.data, options.weights, tuple(options.extra), skip_unreadable=skip)


def workers_of(options: argparse.Namespace) -> Workers:
    """Return who shall train, from the options."""
    from rille_train.trials import Workers

    return Workers(jobs=options.jobs, cpus=options.cpus, ray=options.ray)


def _redraw(run: Path) -> int:
    """Draw a report from the files of a finished run; needs no framework."""
    from rille_train.report import write_training_report

    print(write_training_report(run))
    return 0


def _cross_validate(recipe: Recipe, options: argparse.Namespace, out: Path) -> int:
    """Train every fold and print one table."""
    from rille_train.trials.cross_validation import cross_validate

    table = cross_validate(
        recipe,
        material_of(options),
        out,
        count=options.folds,
        by=options.fold_by,
        workers=workers_of(options),
    )
    names = list(table["mean"])
    print(f"{'held out':28s} {'images':>6s} " + " ".join(f"{name:>12s}" for name in names))
    for row in table["folds"]:
        held = row["held"][0] if len(row["held"]) == 1 else f"{len(row['held'])} groups"
        scores = " ".join(f"{row[name]:12.4f}" for name in names)
        print(f"{held[:28]:28s} {row['images']:6d} {scores}")
    for kind in ("mean", "deviation"):
        print(f"{kind:35s} " + " ".join(f"{table[kind][name]:12.4f}" for name in names))
    if table["pooled"] is not None:
        pooled = table["pooled"]
        print(f"pooled: macro-F1 {pooled['macro_f1']:.4f}, macro-AP {pooled['macro_ap']:.4f}")
    sys.stderr.write(f"wrote {out / 'folds.json'}\n")
    return 0
