"""Everything that the bench knows of one run: what it sent and broke, what it heard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from rille.hil.scenario import Fault, Scenario
from rille.hil.target import End
from rille.hil.telemetry import Record

_STARVED, _SLACK = 0.6, 3.0
"""Share of a run in which something waited for a processor, from which times prove little; and by
how much their bounds are then stretched."""

EXACT = 2e-4
"""By how much a probability may differ from the bench's own, which is rounded in telemetry."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a classifier answers to a picture on the bench.

    Attributes:
        label, probability: as in telemetry.
        shares: the probability of each class, or of each independent label.
    """

    label: str
    probability: float
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sent:
    """A frame that the bench gave to the link.

    Attributes:
        number: of the frame.
        at_ns: when, on the bench's monotonic clock.
        stamp_us: the time that its barcode says.
        picture: which picture it shows; -1 for one that a fault made.
        effect: what must come of it; see `rille.hil.pictures.SPOILT`, and "refused".
    """

    number: int
    at_ns: int
    stamp_us: int
    picture: int
    effect: str


@dataclass(slots=True)
class Span:
    """When a fault was really there; `ended_ns` is None where it lasted to the end."""

    fault: Fault
    began_ns: int
    ended_ns: int | None = None


@dataclass(frozen=True, kw_only=True)
class Observed:
    """One run of a scenario, as the bench saw it.

    Attributes:
        scenario, target, link: what was run, against which kind of target, over which link.
        lossless: whether that link carries pixels as they were sent.
        sent: number -> frame.
        records: telemetry, in the order it came.
        spans: when each timed fault was there.
        end: how the device ended.
        began_ns, ended_ns: of the scenario's own frames, on the bench's clock.
        told: records of the supervisor's `events.jsonl`, where there is one.
        supervisor: content of `supervisor.json`, where there is one.
        answers: what the same networks answer to each picture on the bench; empty where the link
            changes pixels, or nothing classifies.
        truth_within: by how much a probability may differ from the bench's own. More than `EXACT`
            is for a processor of another kind, on which OpenCV resizes with other roundings.
        pressure: share of the run in which something on the bench's machine waited for a
            processor, 0 to 1; None where the kernel does not tell.
    """

    scenario: Scenario
    target: str
    link: str
    lossless: bool
    sent: Mapping[int, Sent]
    records: Sequence[Record]
    spans: Sequence[Span]
    end: End
    began_ns: int
    ended_ns: int
    told: Sequence[Mapping[str, Any]] = ()
    supervisor: Mapping[str, Any] | None = None
    answers: Sequence[Answer] = field(default_factory=tuple)
    truth_within: float = EXACT
    pressure: float | None = None

    @property
    def starved(self) -> bool:
        """Whether bench and device had to fight for the machine's processors most of the time."""
        return self.pressure is not None and self.pressure > _STARVED

    @property
    def slack(self) -> float:
        """By how much bounds on times are stretched: they are meant for a machine with time."""
        return _SLACK if self.starved else 1.0

    @cached_property
    def results(self) -> list[Record]:
        """The records of frames."""
        return [record for record in self.records if not record.event]

    @cached_property
    def events(self) -> list[tuple[int, Mapping[str, Any]]]:
        """When each event was heard (or written, by a supervisor), bench clock, and its fields."""
        heard = [(r.received_ns, r.fields) for r in self.records if r.event]
        return [*heard, *((int(fields["at_ns"]), fields) for fields in self.told)]

    def sent_of(self, record: Record) -> Sent | None:
        """Return the frame that a result is about, where the device could read its number."""
        number = record.number
        return None if number is None else self.sent.get(number)

    def disturbed(self, at_ns: int, after_s: float) -> bool:
        """Return whether a fault was there at a moment, or had ended less than `after_s` ago."""
        return any(
            span.began_ns <= at_ns
            and (span.ended_ns is None or at_ns < span.ended_ns + after_s * 1e9)
            for span in self.spans
        )
