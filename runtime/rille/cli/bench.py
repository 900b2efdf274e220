"""`rille bench`: what this machine makes of a pipeline, in figures that a sceptic can check."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Any

from rille.bench import (
    Bench,
    BenchRecord,
    check_same,
    look_at_machine,
    read_baseline,
    read_moment,
    start_cold,
    write_bench,
)
from rille.bench.words import text_of, verdict
from rille.bench.write import check_folder
from rille.bundle import load_bundle
from rille.cli.bench_options import BenchOptions, read_bench_options
from rille.cli.bench_predict import predict
from rille.files import write_whole


def main(arguments: list[str]) -> int:
    """Run `rille bench`; see `rille bench --help`."""
    options = read_bench_options(arguments)
    if options.predict:
        return predict(options)
    if options.out is not None:
        check_folder(options.out)
    baseline = None if options.baseline is None else read_baseline(options.baseline)
    with _open(options, baseline) as bench:
        record = _measure(bench, options, baseline, shlex.join(["rille", "bench", *arguments]))
    print(text_of(record))
    if options.json is not None:
        write_whole(options.json, json.dumps(record.to_json(), indent=1) + "\n")
    if options.out is not None:
        write_bench(options.out, record)
        print(f"bench.json, bench.md and bench.html are in {options.out}", file=sys.stderr)
    if record.closed.misses:
        print(
            f"note: {record.closed.misses} frames missed {options.budget_ms:g} ms", file=sys.stderr
        )
    if record.slower:
        print(f"rille bench: {verdict(record)}", file=sys.stderr)
    return 1 if record.slower else 0


def _open(options: BenchOptions, baseline: dict[str, Any] | None) -> Bench:
    """Load everything; where nothing else is asked for, cores are shared as in the baseline."""
    threads, parallel = options.threads, options.parallel
    if baseline is not None and threads is None and parallel is None:
        before = baseline["identity"]
        if isinstance(before.get("threads"), int) and isinstance(before.get("parallel"), bool):
            threads, parallel = min(max(before["threads"], 1), 64), before["parallel"]
    return Bench(
        classify=load_bundle(options.classify) if options.classify else None,
        segment=load_bundle(options.segment) if options.segment else None,
        width=options.size[0],
        height=options.size[1],
        threads=threads,
        parallel=parallel,
        frame_ms=options.budget_ms,
        backend="litert-plain" if options.plain else "",
    )


def _measure(
    bench: Bench, options: BenchOptions, baseline: dict[str, Any] | None, command: str
) -> BenchRecord:
    where = str(options.baseline)
    if baseline is not None:
        check_same(bench.identity, baseline, where)
    before = read_moment()
    compared = baseline is not None or options.out is not None
    closed = bench.closed(options.frames, options.warmup, compared=compared)
    opened = None if options.fps is None else bench.open(options.fps, options.frames)
    soak = None if options.soak_min is None else bench.soak(options.soak_min)
    changes = [] if baseline is None else bench.compare(baseline, where)
    repeats = bench.verify()
    plan = bench.pipeline.plan
    cold = start_cold(
        classify=options.classify,
        segment=options.segment,
        threads=plan.threads,
        parallel=plan.parallel,
        size=options.size,
        times=options.cold,
    )
    return BenchRecord(
        command=command,
        machine=look_at_machine(),
        before=before,
        after=read_moment(),
        identity=bench.identity,
        closed=closed,
        stages=bench.blocks.to_json(),
        repeats=repeats,
        open=opened,
        cold=cold,
        soak=soak,
        baseline=where if baseline is not None else "",
        changes=changes,
    )
