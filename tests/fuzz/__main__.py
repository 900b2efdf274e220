"""`python -m tests.fuzz --inputs 100000`: everything that reads from outside, fed with nonsense.

Ends with 1 where a reader did anything but take its input or refuse it by an error of rille's. The
inputs that did it are kept in the folder given by --keep, with the words that make each again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.fuzz.catalogue import TARGETS
from tests.fuzz.hunt import Bag, hunt
from tests.fuzz.worker import dice_for


def main(words: Sequence[str] | None = None) -> int:
    """Feed every target its share; return the exit code."""
    options = _parser().parse_args(words)
    os.nice(options.nice)
    names = options.only or list(TARGETS)
    shares = sum(TARGETS[name].share for name in names)
    bags = []
    for name in names:
        count = math.ceil(options.inputs * TARGETS[name].share / shares)
        bag = hunt(name, options.seed, options.first, count)
        bags.append(bag)
        print(_line(bag), flush=True)
        _keep(bag, options.seed, options.keep)
    total, spent = sum(bag.inputs for bag in bags), sum(bag.spent_s for bag in bags)
    bad = sum(_bad(bag) for bag in bags)
    died = sum(len(bag.deaths) for bag in bags if TARGETS[bag.name].sacrificial)
    print(f"{total} inputs in {spent:.0f} s: {bad} failures; {died} sacrificial children died")
    if options.json:
        table = [asdict(bag) for bag in bags]
        options.json.write_text(json.dumps({"seed": options.seed, "targets": table}, indent=1))
    return 1 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--only", action="append", choices=sorted(TARGETS), metavar="TARGET")
    parser.add_argument("--nice", type=int, default=10)
    parser.add_argument("--keep", type=Path, default=Path("out/fuzz"), help="folder for failures")
    parser.add_argument("--json", type=Path, help="write what was found")
    return parser


def _bad(bag: Bag) -> int:
    """Return how many inputs were failures; a sacrificial child may die, but raise nothing else."""
    deaths = 0 if TARGETS[bag.name].sacrificial else len(bag.deaths)
    return len(bag.failures) + deaths


def _line(bag: Bag) -> str:
    text = (
        f"{bag.name:15s} {bag.inputs:7d} inputs {bag.inputs / bag.spent_s:8.0f}/s  "
        f"refused {bag.refused:6d}  taken {bag.taken:6d}  failures {_bad(bag)}"
    )
    return text + (f"  processes lost {len(bag.deaths)}" if bag.deaths else "")


def _keep(bag: Bag, seed: int, folder: Path) -> None:
    """Write each input that failed, and what came of it."""
    target = TARGETS[bag.name]
    wrong = dict(bag.failures) if target.sacrificial else {**bag.failures, **bag.deaths}
    for index, what in list(wrong.items())[:20]:
        place = folder / target.name.replace(" ", "-")
        place.mkdir(parents=True, exist_ok=True)
        corpus = target.corpus(place)
        data = target.spoil(corpus, dice_for(seed, target.name, index))
        (place / f"{index}.bin").write_bytes(data)
        again = f"python -m tests.fuzz --seed {seed} --only '{target.name}' --first {index}"
        (place / f"{index}.txt").write_text(f"{again} --inputs 1\n{what}")


if __name__ == "__main__":
    sys.exit(main())
