"""A newly installed bundle is on probation: it flies, and has so many starts to prove itself.

The table counts each start before it happens, so that a board that is reset in mid-flight counts
too. Who flew well is confirmed; who used up its starts is rejected, and the other slot flies.
Every change is one new table, in one step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from rille.errors import BundleError
from rille.site.slots import (
    MOST_REJECTED,
    SLOTS,
    Rejected,
    SlotEntry,
    SlotTable,
    locked,
    read_slots,
    write_slots,
)
from rille.site.whole import check_slot

_MOST_WORDS = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollback:
    """What became of a bundle that did not prove itself: what it was, and what flies instead."""

    site: Path
    bad: SlotEntry
    good: SlotEntry


def on_probation(site: Path) -> SlotEntry | None:
    """Return what flies from a site, if it has yet to prove itself; None for what is no site.

    Raises:
        BundleError: the site's table is damaged.
    """
    if not (site / SLOTS).is_file():
        return None
    table = read_slots(site)
    return table.flying if table.on_probation else None


def count_start(site: Path) -> int | None:
    """Count a start of what is on probation, on the disk, before it happens.

    Returns:
        Its starts, with this one; None where nothing is on probation.

    Raises:
        BundleError: the table is damaged.
        ConfigError: an installation is at work there.
        SinkError: it cannot be written.
    """
    return _add(site, 1)


def spare_start(site: Path) -> None:
    """Take a start back that came to a good end, or to one that says nothing about the bundle.

    Raises:
        RilleError: as for `count_start`.
    """
    _add(site, -1)


def confirm(site: Path, digest: str) -> SlotEntry | None:
    """Mark a bundle as good: it has proven itself.

    Args:
        site: where it was installed.
        digest: of the bundle that flew well; another one that flies by now is left as it is.

    Returns:
        What was confirmed; None where there was nothing to confirm.

    Raises:
        RilleError: as for `count_start`.
    """
    if on_probation(site) is None:
        return None
    with locked(site):
        table = read_slots(site)
        if not table.on_probation or table.flying.digest != digest:
            return None
        good = replace(table.flying, starts=None)
        write_slots(site, replace(table, slots={**table.slots, table.current: good}))
        return good


def fall_back(site: Path, digest: str, why: str) -> Rollback:
    """Let the other slot's bundle fly in the place of one on probation, which is rejected.

    Args:
        site: the folder.
        digest: of the bundle that failed.
        why: what speaks against it, for people.

    Raises:
        BundleError: it is not on probation there, or there is nothing to go back to that is whole.
        RilleError: as for `count_start`.
    """
    with locked(site):
        table = read_slots(site)
        bad, good = table.flying, table.slots.get(table.other)
        if not table.on_probation or bad.digest != digest:
            raise BundleError(f"{site}: it is not on probation there any more")
        if good is None or good.task != bad.task:
            raise BundleError(f"{site}: there is no bundle to go back to")
        if table.rejection(good.digest) is not None:
            raise BundleError(f"{site}: the other bundle, {good}, was rejected itself")
        check_slot(site, table, table.other)
        write_slots(site, rejecting(table, why))
        return Rollback(site=site, bad=bad, good=good)


def rejecting(table: SlotTable, why: str) -> SlotTable:
    """Return a table in which the other slot flies and what flew is rejected."""
    bad = table.flying
    row = Rejected(
        name=bad.name,
        version=bad.version,
        digest=bad.digest,
        why=why[:_MOST_WORDS],
        at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    others = [known for known in table.rejected if known.digest != bad.digest]
    return replace(
        table,
        current=table.other,
        slots={**table.slots, table.current: replace(bad, starts=None)},
        rejected=tuple([*others, row][-MOST_REJECTED:]),
    )


def _add(site: Path, step: int) -> int | None:
    if on_probation(site) is None:
        return None  # without the lock: a site that cannot be written to is none of our business
    with locked(site):
        table = read_slots(site)
        if table.flying.starts is None:
            return None
        starts = max(0, table.flying.starts + step)
        counted = replace(table.flying, starts=starts)
        if starts != table.flying.starts:
            write_slots(site, replace(table, slots={**table.slots, table.current: counted}))
        return starts
