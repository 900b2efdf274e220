"""The device under test, as the bench sees it; and what is prepared for it before it starts."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rille.closing import Closing

if TYPE_CHECKING:
    from rille.hil.scenario import Scenario


@dataclass(kw_only=True, slots=True)
class Setup:
    """What a device is started with; faults that are there from the start change it.

    Attributes:
        scenario: what it is started for.
        folder: the bench's folder for this run.
        source: URI of its source.
        sinks: URIs of its sinks, the bench's telemetry first.
        bundles: what it flies: names or paths.
        out: its output folder.
        settings: further `section.key=value`.
        prefix: words before its command.
    """

    scenario: Scenario
    folder: Path
    source: str
    sinks: list[str]
    bundles: list[str]
    out: Path
    settings: list[str] = field(default_factory=list)
    prefix: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """How a device ended.

    Attributes:
        code: its exit code; None where the bench cannot know.
        words: what it said for people, the last of it.
        stop_s: seconds from the wish that it ends to its end; None where it was not asked.
    """

    code: int | None
    words: str = ""
    stop_s: float | None = None


class Target(Closing):
    """A device under test: an unmodified `rille`, seen from outside. A context manager.

    Attributes:
        kind: "process", "subprocess" or "host".
        pid: of its main process; None where the bench has none.
    """

    kind = ""
    pid: int | None = None

    @abstractmethod
    def start(self) -> None:
        """Start it, or begin to wait for it."""

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether it has ended by itself."""

    @abstractmethod
    def stop(self) -> End:
        """Ask it to end where that can be asked, and say how it ended."""
