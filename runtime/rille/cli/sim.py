"""`rille sim`: rendered data sets, and a look at a scene."""

from __future__ import annotations

import argparse
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rille.board import usable_cores
from rille.files import sink_error
from rille.images import list_images, read_image
from rille.movie import MovieWriter
from rille.sim.likeness import FIGURES, compare
from rille.sim.overlay import in_colour, with_truth
from rille.sim.render import Plan, render
from rille.sim.scenario import Scenario, open_simulator
from rille.sim.server import RenderProcess
from rille.sources.base import parse_uri
from rille.sources.sim import scenario_of

_COLUMNS = ("simulated", "real", "spread", "distance")
_EXAMPLE = "sim://moon?view=rover&terrain=boulder-field&seed=3"


def main(arguments: list[str]) -> int:
    """Run `rille sim`; see `rille sim --help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    scenario = scenario_of(parse_uri(options.uri))
    if options.verb == "show":
        _show(scenario, options.out, options.truth)
        return 0
    if options.verb == "bench":
        return _bench(scenario, max(2, options.frames), max(1, options.workers))
    if options.verb == "compare":
        return _compare(scenario, options.folder, max(1, options.frames))
    if min(options.every, options.workers) < 1:
        parser.error("--every and --workers must be at least 1")
    plan = Plan(
        scenario=scenario,
        scenes=options.scenes,
        frames=options.frames,
        every=options.every,
        validation=options.val,
        vary=options.vary,
    )
    render(options.out, plan, options.workers, _progress)
    print(f"wrote {options.frames} frames of {options.scenes} scenes in {options.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rille sim", description="Render simulated scenes to files."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    data = verbs.add_parser(
        "render",
        help="a data set: frames, masks, COCO annotations, contact sheet",
        description="Render a data set with exact truth. Scenes differ by their seed, and whole "
        "scenes go to one split. Interrupted, it goes on where it was.",
    )
    data.add_argument("uri", nargs="?", default=_EXAMPLE, help=f"the first scene ({_EXAMPLE})")
    data.add_argument("--out", type=Path, required=True, metavar="DIR")
    data.add_argument("--frames", type=int, default=100, metavar="N", help="in all")
    data.add_argument("--scenes", type=int, default=10, metavar="N")
    data.add_argument("--val", type=int, default=2, metavar="N", help="scenes kept for validation")
    data.add_argument(
        "--vary", action="store_true", help="each scene draws terrain, Sun, lens, sensor, hardware"
    )
    data.add_argument("--every", type=int, default=10, metavar="N", help="keep one frame in N")
    data.add_argument("--workers", type=int, default=usable_cores(), metavar="N")
    show = verbs.add_parser("show", help="a short video", description="Render a short video.")
    show.add_argument("uri", nargs="?", default=_EXAMPLE, help=f"the scene ({_EXAMPLE})")
    show.add_argument("--out", type=Path, default=Path("out/sim.mp4"), metavar="FILE.mp4")
    show.add_argument("--truth", action="store_true", help="draw the truth beside the frames")
    _add_measures(verbs)
    return parser


def _add_measures(verbs: Any) -> None:
    """Add the verbs that measure."""
    like = verbs.add_parser(
        "compare",
        help="how like real images it looks",
        description="Compare figures of simulated frames with those of a folder of real images.",
    )
    like.add_argument("uri", help="the scene")
    like.add_argument("folder", type=Path, help="real images")
    like.add_argument("--frames", type=int, default=24, metavar="N", help="simulated frames")
    bench = verbs.add_parser(
        "bench",
        help="frames a second, as a stream gets them",
        description="Measure the renderer in its own process: time to the first frame, frames a "
        "second after that, peak memory.",
    )
    bench.add_argument("uri", nargs="?", default=_EXAMPLE, help=f"the scene ({_EXAMPLE})")
    bench.add_argument("--frames", type=int, default=100, metavar="N")
    bench.add_argument("--workers", type=int, default=2, metavar="N", help="its processes")


def _bench(scenario: Scenario, frames: int, workers: int) -> int:
    """Print how fast a scenario is rendered."""
    start = time.perf_counter()
    process = RenderProcess(replace(scenario, frames=frames, truth=False), workers)
    try:
        process.next()
        first = time.perf_counter()
        spent = []
        for _ in range(frames - 1):
            before = time.perf_counter()
            process.next()
            spent.append(1e3 * (time.perf_counter() - before))
        rate = (frames - 1) / (time.perf_counter() - first)
    finally:
        process.close()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    middle, high = np.quantile(spent, [0.5, 0.95])
    print(
        f"{scenario.world} {scenario.view} {scenario.terrain}, {scenario.width} x "
        f"{scenario.height}, {workers} process(es): {rate:.1f} frames/s (n = {frames - 1}, "
        f"interval p50 {middle:.0f} p95 {high:.0f} ms), first frame after {first - start:.1f} s, "
        f"{peak:.0f} MB at most"
    )
    return 0


def _compare(scenario: Scenario, folder: Path, frames: int) -> int:
    """Print figures of simulated and of real images, and their distances."""
    real = (read_image(path) for path in list_images(folder))
    # Four scenes, so that one lucky view does not decide.
    scenes = [replace(scenario, seed=scenario.seed + k, truth=False) for k in range(min(4, frames))]
    simulated = (
        simulator.frame(25 * k)[0]
        for simulator in map(open_simulator, scenes)
        for k in range(-(-frames // len(scenes)))
    )
    found = compare(simulated, real)
    print(f"{'figure':16s} {'simulated':>9s} {'real':>9s} {'spread':>9s} {'distance':>9s}")
    for name in FIGURES:
        row = found[name]
        print(f"{name:16s} " + " ".join(f"{row[key]:9.3f}" for key in _COLUMNS))
    print(f"{'histogram':16s} {found['histogram']['distance']:39.3f}  (earth mover's, 0 to 1)")
    return 0


def _progress(done: int, total: int) -> None:
    if not sys.stderr.isatty():
        return
    bar = "#" * round(24 * done / total)
    end = "\n" if done == total else ""
    sys.stderr.write(f"\r[{bar:.<24}] {done}/{total} frames{end}")
    sys.stderr.flush()


def _show(scenario: Scenario, path: Path, truth: bool) -> None:
    """Write a video of a scenario, with its truth beside it if wanted."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as wrong:
        raise sink_error(path, wrong) from None
    process = RenderProcess(replace(scenario, truth=truth))
    movie = MovieWriter(path, scenario.fps)
    try:
        for index in range(scenario.frames):
            pixels, known, _ = process.next()
            picture = in_colour(pixels)
            if known is not None:
                picture = np.hstack([picture, with_truth(pixels, known)])
            movie.write(picture)
            _progress(index + 1, scenario.frames)
    finally:
        process.close()
    movie.close()
    print(f"wrote {path}")
