"""Which upset injects which fault; faults of frames and links have none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from rille.hil.upset_bundle import DyingBundle
from rille.hil.upset_clock import OtherBoot
from rille.hil.upset_cpu import Burners, Quota, StoppedCpu
from rille.hil.upset_model import SpoiltBundle, SpoiltSlot
from rille.hil.upset_process import ProcessUpset
from rille.hil.upset_sink import Listener, NoSuchHost, Visitors
from rille.hil.upset_storage import BadPlace, DeadPipe, TinyDisk, TracedWrites

if TYPE_CHECKING:
    from rille.hil.scenario import Fault
    from rille.hil.upset import Upset

_UPSETS: Mapping[str, Callable[[Fault], Upset]] = {
    "process": ProcessUpset,
    "process intermittent bundle": DyingBundle,
    "process stuck bundle": DyingBundle,
    "cpu": StoppedCpu,
    "cpu slow burners": Burners,
    "cpu slow quota": Quota,
    "clock wrong boot": OtherBoot,
    "storage off full": TinyDisk,
    "storage off results": TinyDisk,
    "storage wrong readonly": TinyDisk,
    "storage off": BadPlace,
    "storage garbage": BadPlace,
    "storage stuck": DeadPipe,
    "storage slow": TracedWrites,
    "storage intermittent": TracedWrites,
    "sink off": Listener,
    "sink intermittent": Listener,
    "sink stuck": Visitors,
    "sink garbage": Visitors,
    "sink wrong": NoSuchHost,
    "model garbage installed": SpoiltSlot,
    "model wrong installed": SpoiltSlot,
    "model wrong table": SpoiltSlot,
    "model": SpoiltBundle,
}
"""Component, type and value -> what injects it; the longest name that fits counts."""


def upset_of(fault: Fault) -> Upset | None:
    """Return what injects a fault; None where the frame host or the link does."""
    words = [fault.component, fault.type, fault.value]
    for length in (3, 2, 1):
        made = _UPSETS.get(" ".join(words[:length]))
        if made is not None:
            return made(fault)
    return None
