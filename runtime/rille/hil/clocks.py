"""How far the device's monotonic clock is from the bench's: four stamps, as in NTP.

A frame is sent at t1 (bench), complete at t2 and published at t3 (device), and its telemetry is
here at t4 (bench). Then the device's clock minus the bench's lies within

    ((t2 - t1) + (t3 - t4)) / 2   +-   ((t4 - t1) - (t3 - t2)) / 2

whatever share of the way there and back each takes (RFC 5905, section 8). The frame that was
fastest on its way bounds it best. Round trips (t4 - t1) need no such estimate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rille.hil.observed import Observed

Stamps = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Offset:
    """The device's clock minus the bench's.

    Attributes:
        ns: the estimate.
        uncertainty_ns: the truth is at most so far away.
        frames: of how many frames this is the best.
    """

    ns: float
    uncertainty_ns: float
    frames: int

    def __str__(self) -> str:
        return f"{self.ns / 1e6:+.3f} ms +- {self.uncertainty_ns / 1e6:.3f} ms (n = {self.frames})"


def estimate(stamps: Iterable[Stamps]) -> Offset | None:
    """Return the best bound that a run's stamps give; None where there are none.

    Args:
        stamps: (t1, t2, t3, t4) in nanoseconds; see the module's description.
    """
    best: tuple[float, float] | None = None
    count = 0
    for t1, t2, t3, t4 in stamps:
        half_way = ((t4 - t1) - (t3 - t2)) / 2
        if half_way < 0:
            continue  # no clocks give that: a stamp was spoilt on purpose
        count += 1
        if best is None or half_way < best[0]:
            best = (half_way, ((t2 - t1) + (t3 - t4)) / 2)
    return None if best is None else Offset(best[1], best[0], count)


def offset_of(observed: Observed) -> Offset | None:
    """Return the offset between the clocks of a run."""
    stamps = []
    for record in observed.results:
        sent = observed.sent_of(record)
        if sent is None or not record.published or sent.effect:
            continue
        captured, published = record.fields["captured_ns"], record.fields["published_ns"]
        stamps.append((sent.at_ns, int(captured), int(published), record.received_ns))
    return estimate(stamps)
