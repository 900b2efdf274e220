"""How often `rille bench --baseline` catches a planted slow-down, and how often it cries wolf.

Not a test: it takes minutes. Each measurement is a process of its own, as it is for a user.

    make bench-gate                  or, with more of everything:
    python tests/runtime/gate_trial.py --quiet 20 --planted 3 --share 0.1
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from planted import plant

from rille.bench import Bench
from rille.bench.words import aligned
from rille.bundle import load_bundle

CLASSIFY, SEGMENT = "mars-msl24", "moon-craters"
PARTS = [
    f"{stage} {part}"
    for stage in ("classify", "segment")
    for part in ("preprocess", "infer", "postprocess")
]


def measure(baseline: Path | None, planted: str, share: float, blocks: int) -> dict[str, Any]:
    """Measure blocks in this process, with something planted or not; compare with a baseline."""
    with Bench(
        classify=load_bundle(CLASSIFY),
        segment=load_bundle(SEGMENT),
        width=640,
        height=480,
        threads=1,
        parallel=False,
        frame_ms=1e6,
    ) as bench:
        before = None if baseline is None else json.loads(baseline.read_text())
        if planted:
            stage, part = planted.split()
            assert before is not None
            spin_ms = share * before["stages"]["parts"][planted]["part_ms"]["cpu"]
            plant(bench.blocks.pipeline.networks[stage], part, spin_ms)
        bench.blocks.block(counts=False)
        for _ in range(blocks):
            bench.blocks.block()
        changes = [] if before is None else bench.compare(before, str(baseline))
        return {
            "identity": bench.identity,
            "stages": bench.blocks.to_json(),
            "changes": [change.to_json() for change in changes],
        }


def in_child(*words: object) -> dict[str, Any]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--one", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def trial(quiet: int, planted: int, share: float, blocks: int) -> int:
    """Measure a baseline, repeats without any change, and repeats with one; print what was said."""
    table = [["planted", "load", "said slower", "change of the planted part", ""]]
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        baseline = Path(folder) / "bench.json"
        baseline.write_text(json.dumps(in_child("", "", share, blocks)))
        for plan in [""] * quiet + [part for part in PARTS for _ in range(planted)]:
            changes = in_child(baseline, plan, share, blocks)["changes"]
            slower = sorted({c["part"] for c in changes if c["slower"]})
            # A slower part makes the whole frame slower; that is no false alarm.
            good = not slower if not plan else plan in slower and set(slower) <= {plan, "frame"}
            wrong += not good
            own = [c["change"] for c in changes if c["part"] == plan and c["clock"] == "cpu"]
            largest = max(c["change"] for c in changes if c["clock"] == "cpu")
            shown = f"{100 * own[0]:+.1f} %" if own else f"(largest {100 * largest:+.1f} %)"
            load = f"{os.getloadavg()[0]:.1f}"
            verdict = "right" if good else "WRONG"
            table.append([plan or "nothing", load, ", ".join(slower) or "-", shown, verdict])
            print(" | ".join(table[-1]), file=sys.stderr, flush=True)
    print("\n".join(aligned(table)))
    print(f"{len(table) - 1 - wrong} of {len(table) - 1} right")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quiet", type=int, default=10, help="repeats without any change")
    parser.add_argument("--planted", type=int, default=1, help="repeats with each part slower")
    parser.add_argument("--share", type=float, default=0.1, help="by how much a part is slower")
    parser.add_argument("--blocks", type=int, default=16, help="of each measurement, at least")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is None:
        return trial(options.quiet, options.planted, options.share, options.blocks)
    baseline, planted, share, blocks = options.one
    found = measure(Path(baseline) if baseline else None, planted, float(share), int(blocks))
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
