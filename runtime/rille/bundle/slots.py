"""Which of two slots flies: the table of a folder into which bundles are installed.

A *site* is a folder with the slots `a` and `b`, each a bundle's folder, and the file `slots.json`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rille.errors import BundleError
from rille.schema import build, read_json

SLOTS = "slots.json"
SLOT_NAMES = ("a", "b")


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotEntry:
    """What lies in a slot: the bundle's name, version, task and digest, and when it came (UTC)."""

    name: str
    version: str
    task: str
    digest: str
    installed: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotTable:
    """The content of `slots.json`: the slot that flies, and what lies in each."""

    schema: int = 1
    current: str
    slots: dict[str, SlotEntry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.schema != 1:
            raise ValueError(f"schema {self.schema} is not supported (supported: 1)")
        if self.current not in self.slots or not set(self.slots) <= set(SLOT_NAMES):
            raise ValueError(f"current {self.current!r} must be a filled slot, a or b")

    @property
    def other(self) -> str:
        """The slot that does not fly."""
        return SLOT_NAMES[1 - SLOT_NAMES.index(self.current)]


def read_slots(site: Path) -> SlotTable:
    """Read a site's table.

    Raises:
        BundleError: no site there, or its table is damaged.
    """
    if not (site / SLOTS).is_file():
        raise BundleError(f"{site}: nothing was installed there; use: rille bundle install")
    return build(SlotTable, read_json(site / SLOTS, BundleError), str(site / SLOTS), BundleError)
