"""`rille bundle`: look into bundles, verify, sign, pack and install them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from rille.board import usable_cores
from rille.bundle import (
    Bundle,
    load_bundle,
    make_key,
    pack,
    read_public_key,
    sign,
)
from rille.bundle.json_schema import manifest_schema
from rille.cli.bundle_install import (
    install_command,
    rollback_command,
    slots_command,
    trial_command,
)
from rille.errors import BackendUnavailableError
from rille.network import Network
from rille.plan import default_threads
from rille.report.bundle_page import write_bundle_page
from rille.report.facts import facts, megabytes, signature
from rille.report.measured import measure


def main(arguments: list[str]) -> int:
    """Run `rille bundle`; see `rille bundle --help`.

    Returns:
        The exit code: 0 where the bundle is what it says.
    """
    options = _parser().parse_args(arguments)
    run: dict[str, Callable[[argparse.Namespace], int]] = {
        "verify": _verify,
        "inspect": _inspect,
        "pack": _pack,
        "sign": _sign,
        "key": _key,
        "install": lambda chosen: install_command(_open(chosen), chosen),
        "rollback": rollback_command,
        "slots": slots_command,
        "schema": _schema,
        "trial": lambda chosen: trial_command(_open(chosen), chosen),
    }
    return run[options.what](options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rille bundle", description="Work on bundles.")
    verbs = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    verify = verbs.add_parser(
        "verify", help="check digests, signature and golden answers of every variant"
    )
    inspect = verbs.add_parser("inspect", help="show what a bundle is for and how well it does")
    packing = verbs.add_parser("pack", help="write a bundle as one file")
    signing = verbs.add_parser("sign", help="write a signed copy of a bundle")
    key = verbs.add_parser("key", help="make a key to sign with")
    installing = verbs.add_parser(
        "install", help="put a bundle where one flies: into the other slot, tried there first"
    )
    trial = verbs.add_parser("trial", help="what install tries: golden images, and the speed here")
    for verb in (verify, inspect, packing, signing, installing, trial):
        verb.add_argument("bundle", help="name of a shipped bundle, or path of a folder or zip")
    for verb in (verify, inspect, packing, installing, trial):
        verb.add_argument(
            "--key",
            action="append",
            default=[],
            metavar="KEY",
            help="accept only what this public key signed (digits or a file); may be repeated",
        )
    for verb in (installing, trial):
        verb.add_argument(
            "--limit-ms", type=float, metavar="MS", help="refuse what takes longer (p95 of 100)"
        )
    trial.add_argument("--variant", metavar="NAME", help="which network (default: the preferred)")
    trial.add_argument("--load-only", action="store_true", help="golden images alone, no timing")
    installing.add_argument(
        "--into", type=Path, required=True, metavar="DIR", help="folder with the two slots"
    )
    back = verbs.add_parser("rollback", help="let the bundle that flew before fly again")
    slots = verbs.add_parser("slots", help="show what lies in the two slots, and how it has done")
    for site in (back, slots):
        site.add_argument("site", type=Path, metavar="DIR", help="folder with the two slots")
    for forcing in (installing, back):
        forcing.add_argument(
            "--force",
            action="store_true",
            help="also what was rejected after it failed in flight; and install although what "
            "flies is still on probation",
        )
    verbs.add_parser("schema", help="print the JSON schema of manifest.json")
    inspect.add_argument("--html", type=Path, metavar="FILE", help="write one page instead")
    inspect.add_argument("--json", action="store_true", help="print the manifest as JSON")
    packing.add_argument("--out", type=Path, required=True, metavar="FILE")
    signing.add_argument("--key", type=Path, required=True, metavar="FILE", help="private key")
    signing.add_argument("--out", type=Path, required=True, metavar="DIR", help="signed copy")
    key.add_argument("file", type=Path, help="file for the private key; the public one is FILE.pub")
    return parser


def _open(options: argparse.Namespace) -> Bundle:
    return load_bundle(options.bundle, [read_public_key(key) for key in options.key])


def _verify(options: argparse.Namespace) -> int:
    """Check everything that can be checked here, and say what could not."""
    bundle = _open(options)
    print(f"{bundle.where}: {bundle.name} {bundle.manifest.version}, digest {bundle.digest}")
    print(f"{len(bundle.files)} files, {megabytes(bundle)}: every digest is right")
    print(signature(bundle))
    for name in bundle.manifest.variants:
        try:
            network = Network.load(bundle, variant=name, threads=default_threads())
        except BackendUnavailableError as wrong:
            print(f"{name:16s} not checked: {wrong}")
            continue
        worst = network.self_test()
        tested = f"golden answers within {worst:.3g} of {bundle.manifest.golden_tolerance}"
        if not network.variant.golden:
            tested = "no golden answers to compare with"
        print(f"{name:16s} {network.backend.name}: {tested}")
        network.close()
    return 0


def _inspect(options: argparse.Namespace) -> int:
    """Show a bundle as a table, with a quick look at its speed here."""
    bundle = _open(options)
    manifest = bundle.manifest
    if options.json:
        print(manifest.to_json(), end="")
        return 0
    stated = facts(bundle)  # before anything is measured: a spoilt signature ends it here
    threads = sorted({1, 2, default_threads()} & set(range(1, usable_cores() + 1)))
    found = {name: measure(bundle, name, threads) for name in manifest.variants}
    if options.html is not None:
        write_bundle_page(options.html, bundle, found)
        print(options.html)
        return 0
    for name, text in stated:
        print(f"{name:15s} {text}")
    for name, measured in found.items():
        print(f"\n{name}")
        for line in measured.lines():
            print(f"  {line}")
    return 0


def _pack(options: argparse.Namespace) -> int:
    pack(_open(options), options.out)
    print(f"{options.out} {options.out.stat().st_size / 1e6:.2f} MB")
    return 0


def _sign(options: argparse.Namespace) -> int:
    made = sign(load_bundle(options.bundle), options.key, options.out)
    print(f"{made.where}: {signature(made)}")
    return 0


def _key(options: argparse.Namespace) -> int:
    public = make_key(options.file)
    print(f"private key {options.file}: keep it to yourself\npublic key {public}")
    return 0


def _schema(options: argparse.Namespace) -> int:
    print(json.dumps(manifest_schema(), indent=1))
    return 0
