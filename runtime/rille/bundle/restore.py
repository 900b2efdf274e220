"""Getting a whole bundle back where one is damaged: from where it came, or from the other slot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rille.bundle.load import Bundle, load_bundle, load_slot
from rille.errors import BundleError, DigestError
from rille.site.slots import SLOTS, read_slots


def restored(bundle: Bundle) -> Bundle:
    """Return a whole bundle in the place of one whose bytes changed in memory.

    Args:
        bundle: what was loaded; its digest and origin still count.

    Returns:
        The same bundle read again, or what lies in the other slot, which is another one.

    Raises:
        BundleError: there is no whole one that does the same task.
    """
    try:
        fresh = load_bundle(bundle.where, bundle.trusted)
        if fresh.digest != bundle.digest:
            raise DigestError(f"{bundle.where}: another bundle lies there by now")
        return fresh
    except BundleError as wrong:
        site = Path(bundle.where).parent
        if not (site / SLOTS).is_file():
            raise
        return _other(site, Path(bundle.where).name, bundle.trusted, wrong, bundle.manifest.task)


def load_sound(reference: str | Path, trusted: Sequence[str] = ()) -> tuple[Bundle, str]:
    """Open a bundle to fly; where one was installed and is damaged, the one before it.

    Args:
        reference: as for `load_bundle`.
        trusted: as for `load_bundle`.

    Returns:
        The bundle, and why it is not the one that should fly; empty where it is.

    Raises:
        BundleError: as for `load_bundle`, in both slots.
    """
    try:
        return load_bundle(reference, trusted), ""
    except BundleError as wrong:
        site = Path(reference)
        if not (site / SLOTS).is_file():
            raise
        table = read_slots(site)
        task = table.slots[table.current].task
        return _other(site, table.current, trusted, wrong, task), str(wrong)


def _other(site: Path, slot: str, trusted: Sequence[str], wrong: BundleError, task: str) -> Bundle:
    """Return what lies in a slot that is not `slot`; raise `wrong` where there is none.

    A bundle that was rejected does not come back by itself.
    """
    table = read_slots(site)
    for name, entry in table.slots.items():
        if name != slot and entry.task == task and table.rejection(entry.digest) is None:
            return load_slot(site, name, trusted)
    raise wrong
