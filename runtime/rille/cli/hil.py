"""`rille hil`: a device under test, frames over a real link, faults on schedule, a verdict."""

from __future__ import annotations

import argparse
import signal
import sys
from dataclasses import replace
from pathlib import Path

from rille.barcode import strip_height
from rille.errors import ConfigError
from rille.files import write_whole
from rille.hil.catalogue import files_in, run_catalogue
from rille.hil.observed import EXACT
from rille.hil.pictures import pictures_of
from rille.hil.rig import TARGETS, Bench, run_scenario
from rille.hil.scenario import Scenario, read_scenarios
from rille.hil.scoreboard import scoreboard
from rille.hil.selftest import selftest
from rille.hil.verdict import Verdict
from rille.hil.vocabulary import FAULTS
from rille.uri import split_uri

_PORT = 5700


def main(arguments: list[str]) -> int:
    """Run `rille hil`; see `rille hil --help`."""
    options = _parser().parse_args(arguments)
    verb: str = options.verb
    if verb == "list":
        return _list(options.paths)
    if verb == "faults":
        return _faults()
    if verb == "selftest":
        return _selftest(options)
    # Devices are processes of their own, in sessions of their own: they must not outlive the bench.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _catalogue(options) if verb == "catalogue" else _run(options)
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rille hil", description="Test a device: show it frames, break things, judge it."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    run = verbs.add_parser("run", help="run a scenario, or a family, against one target")
    run.add_argument("scenario", type=Path, nargs="+", help="TOML files")
    run.add_argument(
        "--target",
        default="subprocess",
        metavar="WHAT",
        help="process, subprocess (default), or HOST:PORT of a board that listens for frames",
    )
    run.add_argument(
        "--telemetry",
        default=f"0.0.0.0:{_PORT}",
        metavar="HOST:PORT",
        help=f"where a board's telemetry comes (default: 0.0.0.0:{_PORT})",
    )
    run.add_argument(
        "--truth-within",
        type=float,
        default=EXACT,
        metavar="P",
        help="by how much a board's probabilities may differ from the bench's own: 0.2, say, for a "
        "processor of another kind, which resizes pictures with other roundings (default: as good "
        "as none)",
    )
    run.add_argument("--start-s", type=float, default=60.0, help="how long to wait for a board")
    whole = verbs.add_parser("catalogue", help="run every scenario of a folder, and keep score")
    whole.add_argument("folder", type=Path, help="TOML files")
    whole.add_argument(
        "--targets", default="process,subprocess", help="against which (default: both)"
    )
    whole.add_argument("--jobs", type=int, default=2, metavar="N", help="scenarios at once")
    whole.add_argument("--only", default="", metavar="WORD", help="those with it in the name")
    whole.add_argument("--results", type=Path, metavar="FILE.md", help="write the scoreboard here")
    proof = verbs.add_parser("selftest", help="the bench's own latency and misreads, no device")
    proof.add_argument("--frames", type=int, default=150, metavar="N", help="over each link")
    for verb in (run, whole):
        verb.add_argument("--out", type=Path, default=Path("out/hil"), metavar="DIR")
    listed = verbs.add_parser("list", help="what scenarios there are, and where each can run")
    listed.add_argument("paths", type=Path, nargs="+", help="TOML files or folders")
    verbs.add_parser("faults", help="every fault that can be injected")
    return parser


def _run(options: argparse.Namespace) -> int:
    bench = _bench(options)
    scenarios = [one for path in options.scenario for one in read_scenarios(path)]
    verdicts = []
    for scenario in scenarios:
        if bench.board is not None:
            print(_instructions(scenario, bench, options.telemetry), file=sys.stderr)
        verdicts.append(run_scenario(scenario, bench))
        _say(verdicts[-1])
    return 0 if all(v.passed or v.skipped for v in verdicts) else 1


def _bench(options: argparse.Namespace) -> Bench:
    """Return the bench that the options ask for.

    Raises:
        ConfigError: a target that is none.
    """
    target: str = options.target
    if not 0 < options.truth_within <= 1:
        raise ConfigError(f"--truth-within {options.truth_within:g}: must be above 0, at most 1")
    if target in TARGETS and target != "host":
        if options.truth_within != EXACT:
            raise ConfigError("--truth-within: is for a board; here answers must be the same")
        return Bench(target=target, folder=options.out, start_s=options.start_s)
    if ":" not in target:
        raise ConfigError(
            f"--target {target}: must be process, subprocess, or HOST:PORT of a board"
        )
    return Bench(
        target="host",
        board=split_uri(f"udpraw://{target}").host_port(),
        telemetry=split_uri(f"udp://{options.telemetry}").host_port(),
        folder=options.out,
        start_s=options.start_s,
        truth_within=options.truth_within,
    )


def _instructions(scenario: Scenario, bench: Bench, telemetry: str) -> str:
    """Return what is to be started on the board, but for the bench's address."""
    assert bench.board is not None
    shape = pictures_of(scenario.source)[0].shape
    size = f"{shape[1]}x{shape[0] + strip_height(shape[1])}"
    kind = "gray" if len(shape) == 2 else "rgb"
    port = telemetry.rpartition(":")[2]
    return (
        f"{scenario.name}: on the board, with the bench's address in the place of BENCH:\n"
        f"  rille run --source 'udpraw://:{bench.board[1]}?size={size}&format={kind}&barcode=1' "
        f"--set 'output.sinks=[\"udp://BENCH:{port}\"]' --budget-ms {scenario.budget_ms:g}, "
        f"flying {', '.join(scenario.bundles)} alone"
    )


def _catalogue(options: argparse.Namespace) -> int:
    targets = [word.strip() for word in options.targets.split(",")]
    for target in targets:
        if target not in ("process", "subprocess"):
            raise ConfigError(f"--targets {target}: must be process or subprocess")
    scenarios = [one for path in files_in(options.folder) for one in read_scenarios(path)]
    chosen = [scenario for scenario in scenarios if options.only in scenario.name]
    if not chosen:
        raise ConfigError(f"{options.folder}: no scenario with {options.only!r} in its name")
    benches = [Bench(target=target, folder=options.out) for target in targets]
    catalogue = run_catalogue(chosen, benches, max(1, options.jobs), _say)
    if options.results is not None:
        proof = selftest()
        command = f"rille hil catalogue {options.folder} --targets {options.targets}"
        write_whole(options.results, scoreboard(catalogue, proof, command))
        print(f"wrote {options.results}", file=sys.stderr)
    print(catalogue)
    return 0 if catalogue.passed else 1


def _selftest(options: argparse.Namespace) -> int:
    rows = selftest(max(10, options.frames))
    for row in rows:
        print(row)
    return 0 if all(row.passed for row in rows) else 1


def _list(paths: list[Path]) -> int:
    scenarios = [one for path in paths for file in files_in(path) for one in read_scenarios(file)]
    for scenario in scenarios:
        where = [target for target in TARGETS if not scenario.refusal(target)]
        print(f"{scenario.name:36s} {','.join(where):24s} {scenario.about}")
    print(f"{len(scenarios)} scenarios", file=sys.stderr)
    return 0


def _faults() -> int:
    for component, types in FAULTS.items():
        for type_, values in types.items():
            for value, kind in values.items():
                name = " ".join(filter(None, (component, type_, value)))
                print(f"{name:32s} {component} {kind.words}")
    return 0


def _say(verdict: Verdict) -> None:
    print(replace(verdict, about=""), flush=True)
