"""Installing a bundle where another one flies: into the other slot, tried there, then chosen.

Only the slot that does not fly is ever written, and the table changes in one step, so that whatever
happens in between, the bundle that flew is still there and still chosen. What was chosen is on
probation until it has flown well; see `rille.site.probation`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from rille.bundle.load import Bundle, load_slot
from rille.bundle.write import copy
from rille.errors import BundleError
from rille.site.slots import (
    SLOT_NAMES,
    SLOTS,
    SlotEntry,
    SlotTable,
    locked,
    made,
    read_slots,
    write_slots,
)
from rille.site.whole import check_slot


def install(
    bundle: Bundle, site: Path, trial: Callable[[Path], None], *, force: bool = False
) -> SlotTable:
    """Put a bundle into the slot that does not fly, try it there, and let it fly on probation.

    The first bundle of a site is not on probation: there is nothing to go back to.

    Args:
        bundle: verified.
        site: the folder with the slots; made for the first bundle.
        trial: called with the slot's folder; raises where the bundle does not do.
        force: install what was rejected before, and over the bundle that one on probation would
            go back to.

    Returns:
        The new table.

    Raises:
        BundleError: the site is used for another task, or its table is damaged; the bundle was
            rejected, or what flies is on probation, and nobody forces it.
        ConfigError: another installation is at work there.
        SinkError: it cannot be written.
        Exception: what the trial raised. In every case the bundle that flew goes on flying.
    """
    with locked(made(site)):
        for stray in site.glob(".[ab].*"):  # of an installation that was killed
            shutil.rmtree(stray, ignore_errors=True)
        table = read_slots(site) if (site / SLOTS).exists() else None
        if table is not None:
            # Asked of the table: a damaged bundle must not keep its own repair away.
            _check_task(bundle, site, table.flying.task)
            if not force:
                _check_wise(bundle, site, table)
        slot = table.other if table is not None else SLOT_NAMES[0]
        entry = SlotEntry(
            name=bundle.name,
            version=bundle.manifest.version,
            task=bundle.manifest.task,
            digest=bundle.digest,
            installed=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            starts=0 if table is not None else None,
        )
        if table is not None and slot in table.slots:
            # From here on there is nothing to go back to, so the table must not promise it.
            table = replace(table, slots={table.current: table.flying})
            write_slots(site, table)
        try:
            copy(bundle, site / slot)
            trial(site / slot)
        except BaseException:
            shutil.rmtree(site / slot, ignore_errors=True)
            raise
        return _chosen(site, table or SlotTable(current=slot, slots={slot: entry}), slot, entry)


def roll_back(site: Path, trial: Callable[[Path], None], *, force: bool = False) -> SlotTable:
    """Let the other slot's bundle fly again.

    Args:
        site: the folder with the slots.
        trial: as for `install`.
        force: also where that bundle was rejected; it is then on probation once more.

    Returns:
        The new table.

    Raises:
        BundleError: there is nothing to go back to, or it is damaged, or was rejected.
        Exception: as for `install`.
    """
    read_slots(site)
    with locked(site):
        table = read_slots(site)
        if table.other not in table.slots:
            raise BundleError(f"{site}: holds one bundle alone; there is none to go back to")
        entry = table.slots[table.other]
        if not force:
            _check_rejected(entry.digest, str(entry), site, table)
        elif table.rejection(entry.digest) is not None:
            entry = replace(entry, starts=0)
        load_slot(site, table.other)
        trial(site / table.other)
        return _chosen(site, table, table.other, entry)


def _chosen(site: Path, table: SlotTable, slot: str, entry: SlotEntry) -> SlotTable:
    """Write a table in which an entry flies; what was forced counts as rejected no more."""
    rejected = tuple(row for row in table.rejected if row.digest != entry.digest)
    slots = {**table.slots, slot: entry}
    chosen = replace(table, current=slot, slots=slots, rejected=rejected)
    write_slots(site, chosen)
    return chosen


def _check_task(bundle: Bundle, site: Path, task: str) -> None:
    if bundle.manifest.task != task:
        raise BundleError(
            f"{bundle.where}: does {bundle.manifest.task}, but what flies in {site} does {task}; "
            "install it into a folder of its own"
        )


def _check_wise(bundle: Bundle, site: Path, table: SlotTable) -> None:
    """Refuse a bundle that failed here, and one that would take the way back away."""
    _check_rejected(bundle.digest, bundle.where, site, table)
    if table.on_probation and table.other in table.slots and _is_whole(site, table):
        raise BundleError(
            f"{site}: {table.flying} is still on probation, and goes back to what would be "
            "overwritten; let it fly first, go back (rille bundle rollback), or use --force"
        )


def _is_whole(site: Path, table: SlotTable) -> bool:
    """Return whether what flies is: a damaged bundle must not keep its own repair away."""
    try:
        check_slot(site, table, table.current)
    except BundleError:
        return False
    return True


def _check_rejected(digest: str, what: str, site: Path, table: SlotTable) -> None:
    row = table.rejection(digest)
    if row is not None:
        raise BundleError(
            f"{what}: was rejected in {site} on {row.at} ({row.why}); use --force to let it fly "
            "all the same"
        )
