"""The first load of a network that nobody vouches for: in a process of its own, which may crash.

A digest says that a file is whole, not that it is harmless: of networks with a flipped bit in their
structure, one in a thousand ends the process that loads it. What comes with rille, was signed by a
trusted key or was tried when it was installed is loaded at once; of anything else the first load is
tried aside, once for each digest and version of the engine (`~/.cache/rille/tried.json`).
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from rille.bundle import Bundle, read_slots
from rille.bundle.load import is_shipped
from rille.errors import BundleError, CheckFailedError, RilleError
from rille.files import cache_folder, write_whole
from rille.registry import package_version
from rille.site.slots import SLOTS

_LIMIT_S = 120.0
_MOST_KEPT = 200
_MAX_FILE = 1 << 20


def first_load(bundle: Bundle, variant: str) -> None:
    """Try a TFLite network aside, if it has to be.

    Args:
        bundle: verified.
        variant: which network; empty for the preferred one.

    Raises:
        BundleError: the process that loaded it crashed, hung, or refused it.
        CheckFailedError: its golden answers are wrong.
    """
    name, form = bundle.variant(variant or None)
    key = f"{bundle.digest} {name} {package_version('ai-edge-litert')}"
    if form.target != "tflite" or _is_trusted(bundle) or key in _tried():
        return
    command = [sys.executable, "-m", "rille", "bundle", "trial", bundle.where]
    why = _tried_aside([*command, "--load-only", "--variant", name], bundle.digest)
    if why is not None:
        raise type(why)(
            f"{bundle.where}: {name} was loaded for the first time in a process of its own, and "
            f"{why}; do not fly it"
        )
    _keep(key)


def _tried_aside(command: list[str], digest: str) -> BundleError | CheckFailedError | None:
    """Run a trial; return what went wrong, if anything did."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return BundleError(f"hung for {_LIMIT_S:g} s")
    if done.returncode < 0:
        return BundleError(f"that crashed ({signal.Signals(-done.returncode).name})")
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("rille bundle: ")]
        words = said[-1].partition(": ")[2] if said else f"that ended with {done.returncode}"
        failed = done.returncode == CheckFailedError.exit_code
        return CheckFailedError(words) if failed else BundleError(words)
    if json.loads(done.stdout.splitlines()[-1]).get("digest") != digest:
        return BundleError("another one lay there by then")
    return None


def _is_trusted(bundle: Bundle) -> bool:
    """Return whether it comes with rille, was signed, or was tried when it was installed."""
    if bundle.trusted or is_shipped(bundle):
        return True
    where = Path(bundle.where)
    if not (where.parent / SLOTS).is_file():
        return False
    entry = read_slots(where.parent).slots.get(where.name)
    return entry is not None and entry.digest == bundle.digest


def _tried() -> list[str]:
    """Return what was tried; what cannot be read is tried again."""
    try:
        if _file().stat().st_size > _MAX_FILE:
            return []
        kept: Any = json.loads(_file().read_text(encoding="utf-8"))
        return [str(key) for key in kept] if isinstance(kept, list) else []
    except (OSError, ValueError, RecursionError):
        return []


def _keep(key: str) -> None:
    # A home that cannot be written to costs a second at each start, and nothing else.
    with contextlib.suppress(RilleError, OSError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_whole(_file(), json.dumps([*_tried(), key][-_MOST_KEPT:], indent=1) + "\n")


def _file() -> Path:
    return cache_folder() / "tried.json"
