"""A scenario: what the bench shows, what it breaks and when, and what must come of it.

Read from TOML. A file with `[[case]]` tables is a family: each case is the file itself with the
case's keys laid over it, and is called FILE-SUFFIX.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rille.errors import ConfigError
from rille.events import KINDS
from rille.hil.vocabulary import LINKS, Kind, kind_of
from rille.schema import build, read_toml

DEFAULT_SOURCE = "sim://moon?view=descent&size=160x120&seed=7"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Something that is broken for a while.

    Attributes:
        component, type, value: which fault; see `rille.hil.vocabulary`.
        at_s: when it begins, seconds after the first frame of the scenario.
        for_s: how long it lasts; 0 to the end. Faults that are there from the start ignore both.
        amount: how much, where the fault has a measure.
    """

    component: str
    type: str
    value: str = ""
    at_s: float = 0.0
    for_s: float = 0.0
    amount: float = 0.0

    def __post_init__(self) -> None:
        if min(self.at_s, self.for_s) < 0:
            raise ValueError(f"at_s and for_s must be at least 0, not {self.at_s}, {self.for_s}")
        kind_of(self.component, self.type, self.value)

    @property
    def kind(self) -> Kind:
        """What it is."""
        return kind_of(self.component, self.type, self.value)

    @property
    def end_s(self) -> float:
        """When it ends; infinite where it lasts."""
        return self.at_s + self.for_s if self.for_s else float("inf")

    def active(self, at_s: float) -> bool:
        """Return whether it is there at a moment."""
        return self.at_s <= at_s < self.end_s

    def __str__(self) -> str:
        return " ".join(filter(None, (self.component, self.type, self.value)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Expect:
    """What must come of it. What is not named here and alarming is a failure.

    Attributes:
        exit: the exit code of the device under test; after frames are over it is sent SIGTERM.
        says: words that its last line must hold, where it ends by itself.
        events: event ids that must come.
        at_most: each of them comes at most so often; 0 for what a rate limit lets through: 5, and
            one more a second.
        allow: further events of severity WARNING_HI or FATAL that may come.
        quality: quality flag -> published frames that must carry it at least.
        states: state of a frame -> frames that must end so at least.
        limit: why bad frames may be published without a flag: a limit that is known; empty for
            none.
        detect_s: the first of `events` comes within so many seconds of the fault; 0 for no bound.
        restart_s: so many seconds after the fault a supervisor has started the run again; 0 for no
            bound.
        recover_s: a good frame is published within so many seconds of the last fault's end; 0 for
            no bound.
        ok_share: share of the frames outside faults that must be published in time or late.
        stop_s: seconds in which it ends after SIGTERM.
        whole: whether the telemetry must hold every frame (not where the device is killed).
    """

    exit: int = 0
    says: str = ""
    events: tuple[str, ...] = ()
    at_most: int = 0
    allow: tuple[str, ...] = ()
    quality: dict[str, int] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)
    limit: str = ""
    detect_s: float = 0.0
    restart_s: float = 0.0
    recover_s: float = 2.0
    ok_share: float = 0.5
    stop_s: float = 2.5
    whole: bool = True

    def __post_init__(self) -> None:
        for name in (*self.events, *self.allow):
            if name not in KINDS:
                raise ValueError(f"there is no event {name!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """One test of the device.

    Attributes:
        name: small letters, digits, hyphens.
        about: one sentence for people.
        source: where pictures come from: a simulator or a recording, without `fps`.
        fps, frames: how fast and how many after the device began to answer.
        bundles: what the device flies, by task at most one each.
        budget_ms: its deadline.
        link: "shm", "udpraw", "mjpeg", "rtsp"; empty for shm here, and udpraw to a board.
        set: further settings of the run, as `section.key=value`.
        supervised: whether the device is `rille run --supervised`.
        alone: whether nothing else may run on the bench at the same time.
        seed: of everything that is random.
        fault: what is broken.
        expect: what must come of it.
    """

    name: str
    about: str = ""
    source: str = DEFAULT_SOURCE
    fps: float = 20.0
    frames: int = 60
    bundles: tuple[str, ...] = ("moon-scene",)
    budget_ms: float = 200.0
    link: str = ""
    set: tuple[str, ...] = ()
    supervised: bool = False
    alone: bool = False
    seed: int = 1
    fault: tuple[Fault, ...] = ()
    expect: Expect = field(default_factory=Expect)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name must be small letters, digits, hyphens, not {self.name!r}")
        if self.link not in ("", *LINKS):
            raise ValueError(f"link must be one of {', '.join(LINKS)}, not {self.link!r}")
        if not 1 <= self.fps <= 1000 or not 1 <= self.frames <= 1_000_000:
            raise ValueError("fps must be from 1 to 1000, frames from 1 to 1000000")

    def link_for(self, target: str) -> str:
        """Return the link to use for a kind of target."""
        return self.link or ("udpraw" if target == "host" else "shm")

    def refusal(self, target: str) -> str:
        """Return why this scenario cannot run against a kind of target; empty where it can.

        Args:
            target: "process", "subprocess" or "host".
        """
        link = self.link_for(target)
        if target == "host" and link == "shm":
            return "link shm: shared memory does not reach a board"
        if target == "process" and self.supervised:
            return "supervised: a run in this process has no supervisor"
        if target != "subprocess" and self.set:
            return f"set: settings are those of a run that the bench starts, not of {target}"
        for fault in self.fault:
            if target not in fault.kind.targets:
                return f"fault {fault}: cannot be injected into target {target}"
            if link not in fault.kind.links:
                links = ", ".join(fault.kind.links)
                return f"fault {fault}: not over link {link} (over: {links})"
        return ""


def read_scenarios(path: Path) -> list[Scenario]:
    """Read one file: one scenario, or a family of them.

    Raises:
        ConfigError: missing, malformed, or a key or value that does not fit; names it.
    """
    table = read_toml(path, ConfigError)
    table.setdefault("name", path.stem)
    cases = table.pop("case", None)
    if cases is None:
        return [build(Scenario, table, str(path), ConfigError)]
    if not isinstance(cases, list) or not cases:
        raise ConfigError(f"{path}: case must be tables: [[case]]")
    return [_member(table, case, f"{path} case {k}") for k, case in enumerate(cases, 1)]


def _member(table: Mapping[str, Any], case: Any, where: str) -> Scenario:
    """Return one case of a family."""
    if not isinstance(case, Mapping) or not isinstance(case.get("suffix"), str):
        raise ConfigError(f"{where}: needs a suffix")
    own = {key: value for key, value in case.items() if key != "suffix"}
    merged = _laid_over(table, own)
    merged["name"] = f"{table['name']}-{case['suffix']}"
    return build(Scenario, merged, where, ConfigError)


def _laid_over(table: Mapping[str, Any], case: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with another over it: tables merge, a table `fault` goes into the first."""
    merged = dict(table)
    for key, value in case.items():
        before = merged.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            merged[key] = _laid_over(before, value)
        elif key == "fault" and isinstance(value, Mapping):
            first, *rest = before if isinstance(before, list) and before else [{}]
            merged[key] = [_laid_over(first, value), *rest]
        else:
            merged[key] = value
    return merged
