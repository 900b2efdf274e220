"""Run every benchmark and write `RESULTS.md` beside this file: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2

import rille
from benchmarks import scaling, suites_section, targets
from benchmarks.frames import rendered
from benchmarks.page import Section, say
from benchmarks.peers import section as peers
from benchmarks.peers.side_by_side import Settings
from rille.board import processor, usable_cores
from rille.errors import CheckFailedError, RilleError
from rille.files import write_whole
from rille.registry import package_version

HERE = Path(__file__).resolve().parent
PARTS = ("bench", "peers", "targets", "scaling", "suites")


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; 1 if a part failed or the machine was busy, as the page then says."""
    options = _parser().parse_args(arguments)
    cache_home = options.work / "cache"
    shutil.rmtree(cache_home, ignore_errors=True)
    cache_home.mkdir(parents=True)
    # How networks share the cores is to be measured now, not when the machine was busy.
    os.environ["XDG_CACHE_HOME"] = str(cache_home.resolve())
    began, load = time.monotonic(), os.getloadavg()[0]
    sections, failed = [], []
    for name, measure in _parts(options).items():
        if name in options.only:
            say(f"{name} ...")
            try:
                sections.append(measure())
            except RilleError as wrong:
                say(f"{name}: {wrong}")
                failed.append(f"{name}: {wrong}")
            except Exception as wrong:  # a fault in one part must not cost the others' ten minutes
                traceback.print_exc()
                failed.append(f"{name}: {type(wrong).__name__}: {wrong}")
    minutes = (time.monotonic() - began) / 60
    facts = [
        *_facts(),
        f"load {load:.1f} before, {os.getloadavg()[0]:.1f} after",
        f"{minutes:.0f} minutes",
    ]
    if load > usable_cores() / 2:
        failed.append(f"the machine was busy before anything began (load {load:.1f}): do not quote")
    _write(options.out, options.work, sections, failed, facts)
    say(f"{options.out / 'RESULTS.md'} ({minutes:.1f} minutes)")
    return bool(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--classify", default="mars-msl24", metavar="BUNDLE")
    parser.add_argument("--segment", default="moon-rocks", metavar="BUNDLE")
    parser.add_argument("--frames", type=int, default=300, help="for each program, alone")
    parser.add_argument("--fps", type=float, default=10.0, help="the fixed rate of the cameras")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each camera runs")
    parser.add_argument("--rounds", type=int, default=40, help="for each point of the plots")
    parser.add_argument(
        "--peers-python",
        type=Path,
        default=HERE.parent / ".venv-peers/bin/python",
        help="the environment of programs that do not fit into this one (make peers)",
    )
    parser.add_argument("--out", type=Path, default=HERE, help="folder of RESULTS.md and plots/")
    parser.add_argument("--work", type=Path, default=HERE.parent / "out/bench", help="raw figures")
    return parser


def _parts(options: argparse.Namespace) -> dict[str, Callable[[], Section]]:
    pool = cache(rendered)  # rendered when it is first needed
    bundles = (options.classify, options.segment)
    settings = Settings(
        frames=options.frames,
        fps=options.fps,
        seconds=options.seconds,
        other_python=options.peers_python,
        folder=options.work,
    )
    return {
        "bench": lambda: _rille_bench(*bundles, options.frames),
        "peers": lambda: peers.measure(*bundles, pool(), settings),
        "targets": lambda: targets.measure(10 * options.rounds),
        "scaling": lambda: scaling.measure(*bundles, pool(), options.rounds, options.seconds),
        "suites": lambda: suites_section.measure(options.work),
    }


def _rille_bench(classify: str, segment: str, frames: int) -> Section:
    """Run `rille bench` and quote it.

    Raises:
        CheckFailedError: it failed.
    """
    bundles = ["--classify", classify, "--segment", segment]
    command = [sys.executable, "-m", "rille", "bench", *bundles, "--frames", str(frames)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        # The last line: before it stands what the libraries have to say.
        raise CheckFailedError((done.stderr.strip().splitlines() or ["no words"])[-1][:300])
    words = "The command itself, which anybody can run on a board, in its own words.\n\n"
    return Section(title="rille bench", text=f"{words}```text\n{done.stdout}```\n")


def _facts() -> list[str]:
    """Return what the machine is and what is installed, for people."""
    packages = ["numpy", "ai-edge-litert", "onnxruntime", "pytest-benchmark"]
    found = [f"{name} {package_version(name)}" for name in packages]
    return [
        f"{processor()}, {usable_cores()} cores, {platform.system()} {platform.machine()}",
        f"Python {platform.python_version()}, rille {rille.__version__}, OpenCV {cv2.__version__}",
        ", ".join(found),
    ]


def _write(
    out: Path, work: Path, sections: list[Section], failed: list[str], facts: list[str]
) -> None:
    """Write page, plots and raw figures."""
    plots = out / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    lines = ["# Results\n", "Written by `make bench`; every figure was measured in that one run.\n"]
    lines += ["".join(f"- {fact}\n" for fact in facts)]
    lines += [f"**Not to be relied on:** {words}\n" for words in failed]
    lines += [f"## {section.title}\n\n{section.text}" for section in sections]
    for section in sections:
        for name, svg in section.plots.items():
            write_whole(plots / name, svg)
    write_whole(out / "RESULTS.md", "\n".join(lines))
    raw = {"facts": facts, **{section.title: section.data for section in sections}}
    write_whole(work / "results.json", json.dumps(raw, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
