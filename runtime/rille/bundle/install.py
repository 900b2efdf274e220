"""Installing a bundle where another one flies: into the other slot, tried there, then chosen.

Only the slot that does not fly is ever written, and the table changes in one step, so that whatever
happens in between, the bundle that flew is still there and still chosen.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from rille.bundle.load import Bundle, load_slot
from rille.bundle.slots import SLOT_NAMES, SLOTS, SlotEntry, SlotTable, read_slots
from rille.bundle.write import copy
from rille.errors import BundleError, ConfigError, SinkError
from rille.files import sink_error, write_whole

_LOCK = ".lock"


def install(bundle: Bundle, site: Path, trial: Callable[[Path], None]) -> SlotTable:
    """Put a bundle into the slot that does not fly, try it there, and let it fly.

    Args:
        bundle: verified.
        site: the folder with the slots; made for the first bundle.
        trial: called with the slot's folder; raises where the bundle does not do.

    Returns:
        The new table.

    Raises:
        BundleError: the site is used for another task, or its table is damaged.
        ConfigError: another installation is at work there.
        SinkError: it cannot be written.
        Exception: what the trial raised. In every case the bundle that flew goes on flying.
    """
    with _locked(site):
        for stray in site.glob(".[ab].*"):  # of an installation that was killed
            shutil.rmtree(stray, ignore_errors=True)
        table = read_slots(site) if (site / SLOTS).exists() else None
        if table is not None:
            # Asked of the table: a damaged bundle must not keep its own repair away.
            _check_task(bundle, site, table.slots[table.current].task)
        slot = table.other if table is not None else SLOT_NAMES[0]
        entry = SlotEntry(
            name=bundle.name,
            version=bundle.manifest.version,
            task=bundle.manifest.task,
            digest=bundle.digest,
            installed=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        kept = {k: v for k, v in table.slots.items() if k != slot} if table is not None else {}
        if table is not None and slot in table.slots:
            # From here on there is nothing to go back to, so the table must not promise it.
            _write_table(site, SlotTable(current=table.current, slots=kept))
        try:
            copy(bundle, site / slot)
            trial(site / slot)
        except BaseException:
            shutil.rmtree(site / slot, ignore_errors=True)
            raise
        made = SlotTable(current=slot, slots={**kept, slot: entry})
        _write_table(site, made)
        return made


def roll_back(site: Path, trial: Callable[[Path], None]) -> SlotTable:
    """Let the other slot's bundle fly again.

    Args:
        site: the folder with the slots.
        trial: as for `install`.

    Returns:
        The new table.

    Raises:
        BundleError: there is nothing to go back to, or it is damaged.
        Exception: as for `install`.
    """
    with _locked(site):
        table = read_slots(site)
        if table.other not in table.slots:
            raise BundleError(f"{site}: holds one bundle alone; there is none to go back to")
        load_slot(site, table.other)
        trial(site / table.other)
        made = SlotTable(current=table.other, slots=table.slots)
        _write_table(site, made)
        return made


def _check_task(bundle: Bundle, site: Path, task: str) -> None:
    if bundle.manifest.task != task:
        raise BundleError(
            f"{bundle.where}: does {bundle.manifest.task}, but what flies in {site} does {task}; "
            "install it into a folder of its own"
        )


def _write_table(site: Path, table: SlotTable) -> None:
    write_whole(site / SLOTS, json.dumps(asdict(table), indent=1) + "\n")


@contextlib.contextmanager
def _locked(site: Path) -> Iterator[None]:
    """Keep others from installing into a site, and see that it can be written."""
    try:
        site.mkdir(parents=True, exist_ok=True)
        lock = os.open(site / _LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    except FileExistsError:
        raise SinkError(f"{site}: is a file, not a folder; choose another") from None
    except OSError as wrong:
        raise sink_error(site, wrong) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise ConfigError(f"{site}: another installation is at work there; wait for it") from None
    try:
        yield
    finally:
        os.close(lock)
