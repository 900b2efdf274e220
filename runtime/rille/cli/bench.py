"""`rille bench`: closed-loop latency on this machine, beside its floor."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rille.bench import BenchResult, run_bench
from rille.bundle import load_bundle
from rille.config import NETWORKS
from rille.files import write_whole
from rille.uri import SourceUri


def main(arguments: list[str]) -> int:
    """Run `rille bench`; see `rille bench --help`."""
    parser = argparse.ArgumentParser(
        prog="rille bench",
        description="Measure the pipeline over pre-loaded frames, the next as soon as the last is "
        "done, interleaved with the floor: resize, set_tensor, invoke and get_tensor alone.",
    )
    parser.add_argument("--classify", default="mars-msl24", metavar="BUNDLE")
    parser.add_argument("--segment", default="moon-craters", metavar="BUNDLE")
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--warmup", type=int, default=50)
    parser.add_argument("--size", default="640x480", metavar="WxH", help="size of the frames")
    parser.add_argument("--threads", type=int, help="for one inference (default: as measured)")
    parser.add_argument(
        "--networks", choices=sorted(NETWORKS), default="auto", help="one after the other or not"
    )
    parser.add_argument("--budget-ms", type=float, default=100.0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    options = parser.parse_args(arguments)
    threads = 1 if options.threads is None else options.threads
    if min(options.frames, threads) < 1 or options.warmup < 0:
        parser.error("--frames and --threads must be at least 1, --warmup at least 0")
    width, height = SourceUri("--size", "", "", {"size": options.size}).size((640, 480))
    result = run_bench(
        classify=load_bundle(options.classify) if options.classify else None,
        segment=load_bundle(options.segment) if options.segment else None,
        frames=options.frames,
        warmup=options.warmup,
        width=width,
        height=height,
        threads=options.threads,
        parallel=NETWORKS[options.networks],
        frame_ms=options.budget_ms,
    )
    print(table(result))
    if options.json is not None:
        write_whole(options.json, json.dumps(result.to_json(), indent=1) + "\n")
    if result.misses:
        print(f"note: {result.misses} frames missed {options.budget_ms:g} ms", file=sys.stderr)
    return 0


def table(result: BenchResult) -> str:
    """Return the figures as lines of text."""
    lines = [f"{'milliseconds':24s} {'n':>6s} {'p50':>8s} {'p95':>8s} {'p99':>8s} {'max':>8s}"]
    for name, figures in result.rows().items():
        cells = [figures[key] for key in ("p50", "p95", "p99", "max")]
        shown = " ".join("       -" if c is None else f"{c:8.3f}" for c in cells)
        lines.append(f"{name:24s} {figures['n']:6d} {shown}")
    low, high = result.p50_interval
    lines += [
        f"pipeline / floor         {what}: {ratio:.3f}" for what, ratio in result.ratios().items()
    ]
    lines += [
        f"pipeline p50 {low:.3f} to {high:.3f} ms with 95 % confidence; "
        f"{1000 * len(result.pipeline) / sum(result.pipeline):.1f} frames/s, one at a time",
        f"{result.machine}; load {result.load_before:.1f} before, {result.load_after:.1f} after"
        + ("; short run" if result.short else ""),
    ]
    return "\n".join(lines)
