"""`rille service`: install rille as a service of systemd, and take it away again."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from rille.board import look_at_board
from rille.errors import ConfigError
from rille.schema import read_text
from rille.service import (
    BOARDS,
    CONFIG,
    STATE,
    WRITTEN,
    ServiceOptions,
    below,
    board_of,
    example,
    planned,
    remove,
    write,
    written,
)

_NEXT = (
    "systemd-sysusers",
    "systemctl daemon-reload",
    "systemctl enable --now rille",
    "journalctl --unit rille --follow",
)


def main(arguments: list[str]) -> int:
    """Run `rille service`; see `rille service --help`."""
    options = _parser().parse_args(arguments)
    if options.prefix == Path("/") and not options.dry_run and os.geteuid() != 0:
        raise ConfigError("writing below /etc takes root: sudo rille service ... (or --dry-run)")
    return _install(options) if options.what == "install" else _uninstall(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rille service", description="Run rille as a service of systemd."
    )
    verbs = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    installing = verbs.add_parser("install", help="write unit, user, log rotation, configuration")
    removing = verbs.add_parser(
        "uninstall", help="take them away; configuration and results are kept"
    )
    installing.add_argument("--user", default="rille", metavar="NAME", help="whom it runs as")
    installing.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"replaces {CONFIG} (default: what is there, or the example for this board)",
    )
    installing.add_argument(
        "--board", metavar="NAME", help=f"the board, if it is not this one: {', '.join(BOARDS)}"
    )
    installing.add_argument(
        "--python",
        type=Path,
        default=Path(sys.executable),
        metavar="FILE",
        help="the interpreter that has rille (default: this one)",
    )
    for verb in (installing, removing):
        verb.add_argument(
            "--dry-run", action="store_true", help="print what would be done, do nothing"
        )
        verb.add_argument(
            "--prefix",
            type=Path,
            default=Path("/"),
            metavar="DIR",
            help="stands for the root of the file system, as when an image is made",
        )
    return parser


def _install(options: argparse.Namespace) -> int:
    there = below(options.prefix, CONFIG)
    kept = options.config is None and there.exists()
    files = [file for file in planned(_service(options, there)) if not (file.users and kept)]
    if options.dry_run:
        for file in files:
            print(f"==> {below(options.prefix, file.path)}\n{file.content}")
    else:
        for path in write(files, options.prefix):
            print(f"wrote {path}")
    if kept:
        print(f"kept {there}; --config FILE replaces it")
    print("then, as root:", file=sys.stderr)
    for step in _NEXT:
        print(f"  {step}", file=sys.stderr)
    return 0


def _uninstall(options: argparse.Namespace) -> int:
    gone = written(WRITTEN, options.prefix)
    if not options.dry_run:
        remove(gone)
    for path in gone:
        print(f"{'would remove' if options.dry_run else 'removed'} {path}")
    if not gone:
        print("nothing to remove", file=sys.stderr)
        return 0
    print(f"kept: {CONFIG}, {STATE}. Then, as root:", file=sys.stderr)
    print("  systemctl disable --now rille\n  systemctl daemon-reload", file=sys.stderr)
    return 0


def _service(options: argparse.Namespace, there: Path) -> ServiceOptions:
    """Return what the service is to be.

    Args:
        options: of `rille service install`.
        there: where a configuration would be, if there was one.

    Raises:
        ConfigError: there is no configuration to start from.
    """
    board = look_at_board(options.prefix)
    name = options.board or board_of(board.model)
    if options.config is not None:
        text, where = read_text(options.config, ConfigError), str(options.config)
    elif there.exists():
        text, where = read_text(there, ConfigError), str(there)
    elif name:
        text, where = example(name), f"the example for {name}"
    else:
        raise ConfigError(
            f"there is no example for {board.model or 'this machine'}: write a configuration and "
            "name it with --config FILE, or begin with that of another board, "
            f"--board {' or '.join(BOARDS)}"
        )
    return ServiceOptions(
        python=options.python,
        user=options.user,
        config=text,
        where=where,
        jetson=name == "orin" or bool(board.jetpack),
    )
