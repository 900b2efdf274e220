"""`rille bundle install`, `rollback`, `slots` and `trial`: changing the bundle that flies."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from rille.bundle import Bundle, SlotTable, install, read_slots, roll_back
from rille.errors import CheckFailedError
from rille.images import decode_image
from rille.latency import spent_ms
from rille.network import Network
from rille.plan import default_threads
from rille.site.slots import Rejected, SlotEntry

_RUNS = 100
_TRIAL_S = 300.0


def install_command(bundle: Bundle, options: argparse.Namespace) -> int:
    """Install a bundle into the slot that does not fly, try it, and let it fly."""
    table = install(
        bundle, options.into, lambda slot: _trial_boot(slot, options.limit_ms), force=options.force
    )
    _print_slots(options.into, table)
    return 0


def rollback_command(options: argparse.Namespace) -> int:
    """Let the bundle of the other slot fly again."""
    table = roll_back(options.site, lambda slot: _trial_boot(slot, None), force=options.force)
    _print_slots(options.site, table)
    return 0


def slots_command(options: argparse.Namespace) -> int:
    """Show what lies in the slots, and which one flies."""
    _print_slots(options.site, read_slots(options.site))
    return 0


def trial_command(bundle: Bundle, options: argparse.Namespace) -> int:
    """Load a network, run its golden images and, unless loading is all, time it.

    Raises:
        CheckFailedError: a golden answer is wrong, or the preferred network is too slow.
    """
    name, _ = bundle.variant(options.variant)
    network = Network.load(bundle, variant=name, threads=default_threads())
    worst = network.self_test()
    if options.load_only:
        network.close()
        print(json.dumps({"variant": name, "golden_gap": worst, "digest": bundle.digest}))
        return 0
    images = [decode_image(bundle.files[k], k) for k in bundle.manifest.golden_images]
    if not images:
        _, height, width, _ = network.variant.input.shape
        images = [np.zeros((height, width, 3), np.uint8)]
    spent = spent_ms(lambda turn: network.run(images[turn % len(images)]), _RUNS, _RUNS // 10)
    network.close()
    p50, p95 = np.percentile(spent, [50, 95])
    print(json.dumps({"variant": name, "golden_gap": worst, "p50_ms": p50, "p95_ms": p95}))
    if options.limit_ms is not None and p95 > options.limit_ms:
        raise CheckFailedError(
            f"{bundle.where}: {name} takes {p95:.2f} ms (p95 of {_RUNS}), more than the "
            f"{options.limit_ms:g} ms allowed"
        )
    return 0


def _trial_boot(slot: Path, limit_ms: float | None) -> None:
    """Try a bundle in a process of its own, which may crash or hang without harm.

    Raises:
        CheckFailedError: it does not do; says why.
    """
    command = [sys.executable, "-m", "rille", "bundle", "trial", str(slot)]
    if limit_ms is not None:
        command += ["--limit-ms", f"{limit_ms!r}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TRIAL_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise CheckFailedError(
            f"{slot}: the trial boot hung for {_TRIAL_S:g} s; the bundle that flew goes on flying"
        ) from None
    if done.returncode == 0:
        found = json.loads(done.stdout.splitlines()[-1])
        print(
            f"trial boot: {found['variant']}, golden answers within {found['golden_gap']:.3g}, "
            f"p50 {found['p50_ms']:.2f} ms, p95 {found['p95_ms']:.2f} ms",
            file=sys.stderr,
        )
        return
    if done.returncode < 0:
        why = f"it crashed ({signal.Signals(-done.returncode).name})"
    else:
        said = [line for line in done.stderr.splitlines() if line.startswith("rille bundle: ")]
        why = said[-1].partition(": ")[2] if said else f"exit code {done.returncode}"
    raise CheckFailedError(
        f"{slot}: failed its trial boot: {why}; the bundle that flew goes on flying"
    )


def _print_slots(site: Path, table: SlotTable) -> None:
    for slot, entry in sorted(table.slots.items()):
        mark = "flies" if slot == table.current else "     "
        print(
            f"{site / slot} {mark} {entry.name} {entry.version} {entry.digest[:12]} "
            f"installed {entry.installed}, {_standing(table, entry)}"
        )
    lying = {entry.digest for entry in table.slots.values()}
    for row in table.rejected:
        if row.digest not in lying:
            what = f"{row.name} {row.version} {row.digest[:12]}"
            print(f"{site} no longer holds {what}, {_rejected(row)}")


def _standing(table: SlotTable, entry: SlotEntry) -> str:
    """Return in words whether a bundle has proven itself."""
    row = table.rejection(entry.digest)
    if row is not None:
        return _rejected(row)
    if entry.starts is None:
        return "good"
    return f"on probation ({entry.starts} start{'s' if entry.starts != 1 else ''} so far)"


def _rejected(row: Rejected) -> str:
    return f"rejected {row.at}: {row.why}"
