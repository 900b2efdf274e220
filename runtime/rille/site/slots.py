"""Which of two slots flies: the table of a site, and the lock under which it changes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rille.errors import BundleError, ConfigError, SinkError
from rille.files import sink_error, write_whole
from rille.schema import build, read_json

SLOTS = "slots.json"
SLOT_NAMES = ("a", "b")
MOST_REJECTED = 32
"""Rejected bundles that a table remembers; the oldest is forgotten first."""
_LOCK = ".lock"
_SCHEMA = 2
_AGAIN_S = 0.01
_PATIENCE_S = 1.0
"""A run that counts a start or confirms a bundle is done with a site sooner than that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotEntry:
    """What lies in a slot.

    Attributes:
        name, version, task, digest: of the bundle.
        installed: when it came (UTC).
        starts: flights it has begun while on probation; None where it is on probation no more,
            or never was.
    """

    name: str
    version: str
    task: str
    digest: str
    installed: str
    starts: int | None = None

    def __post_init__(self) -> None:
        if self.starts is not None and not 0 <= self.starts <= 1_000_000:
            raise ValueError(f"starts must be from 0 to 1000000, not {self.starts}")

    def __str__(self) -> str:
        return f"{self.name} {self.version} {self.digest[:12]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """A bundle that failed its probation: its name, version and digest, why, and when (UTC)."""

    name: str
    version: str
    digest: str
    why: str
    at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotTable:
    """The content of `slots.json`.

    Attributes:
        schema: 2; a table of schema 1, which knew neither probation nor rejections, is read too.
        current: the slot that flies.
        slots: what lies in each.
        rejected: bundles that are not installed again unless that is forced; the latest last.
    """

    schema: int = _SCHEMA
    current: str
    slots: dict[str, SlotEntry] = field(default_factory=dict)
    rejected: tuple[Rejected, ...] = ()

    def __post_init__(self) -> None:
        if self.schema not in (1, _SCHEMA):
            raise ValueError(f"schema {self.schema} is not supported (supported: 1, {_SCHEMA})")
        if self.current not in self.slots or not set(self.slots) <= set(SLOT_NAMES):
            raise ValueError(f"current {self.current!r} must be a filled slot, a or b")

    @property
    def other(self) -> str:
        """The slot that does not fly."""
        return SLOT_NAMES[1 - SLOT_NAMES.index(self.current)]

    @property
    def flying(self) -> SlotEntry:
        """What lies in the slot that flies."""
        return self.slots[self.current]

    @property
    def on_probation(self) -> bool:
        """Whether what flies has yet to prove itself."""
        return self.flying.starts is not None

    def rejection(self, digest: str) -> Rejected | None:
        """Return why a bundle was rejected; None where it was not."""
        return next((row for row in self.rejected if row.digest == digest), None)


def read_slots(site: Path) -> SlotTable:
    """Read a site's table.

    Raises:
        BundleError: no site there, or its table is damaged.
    """
    if not (site / SLOTS).is_file():
        raise BundleError(f"{site}: nothing was installed there; use: rille bundle install")
    return build(SlotTable, read_json(site / SLOTS, BundleError), str(site / SLOTS), BundleError)


def write_slots(site: Path, table: SlotTable) -> None:
    """Write a site's table, in one step; only under its lock.

    Raises:
        SinkError: it cannot be written; the earlier one is untouched.
    """
    whole = {**asdict(table), "schema": _SCHEMA}
    write_whole(site / SLOTS, json.dumps(whole, indent=1) + "\n")


@contextlib.contextmanager
def locked(site: Path) -> Iterator[None]:
    """Keep others from changing a site, and see that it can be written.

    Args:
        site: the folder; must be there.

    Raises:
        ConfigError: somebody is at work there, and still was after a second.
        SinkError: it cannot be written.
    """
    try:
        lock = os.open(site / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as wrong:
        raise sink_error(site, wrong) from None
    try:
        _take(lock, site)
        yield
    finally:
        os.close(lock)


def made(site: Path) -> Path:
    """Return a site's folder, made if needed.

    Raises:
        SinkError: it cannot be.
    """
    try:
        site.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise SinkError(f"{site}: is a file, not a folder; choose another") from None
    except OSError as wrong:
        raise sink_error(site, wrong) from None
    return site


def _take(lock: int, site: Path) -> None:
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError:
            if time.monotonic() >= end:
                raise ConfigError(
                    f"{site}: another installation is at work there; wait for it"
                ) from None
        time.sleep(_AGAIN_S)
