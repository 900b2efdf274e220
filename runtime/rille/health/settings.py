"""What a supervised run is allowed: silences, restarts, time to stop."""

from __future__ import annotations

from dataclasses import dataclass, field

DEFAULT_FOLDER = "out/run"
"""Where a run writes when nobody says otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How long one heartbeat may stay away.

    Attributes:
        warn_ms: from here on an event tells of it, and systemd's watchdog is no longer fed.
        fatal_ms: from here on the run is killed and started anew.
    """

    warn_ms: float = 1000.0
    fatal_ms: float = 5000.0

    def __post_init__(self) -> None:
        if not 0 < self.warn_ms <= self.fatal_ms <= 86_400_000:
            raise ValueError(
                f"needs 0 < warn_ms <= fatal_ms <= 86400000, not {self.warn_ms:g}, "
                f"{self.fatal_ms:g}"
            )


_KNOWN = {
    "start": Limits(warn_ms=30_000, fatal_ms=120_000),  # an engine may be built first
    "first": Limits(warn_ms=30_000, fatal_ms=120_000),  # a source may have to prepare or connect
    "finish": Limits(warn_ms=10_000, fatal_ms=30_000),  # video and report are completed
}


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthConfig:
    """How `rille run --supervised` watches a run.

    Attributes:
        limits: heartbeat -> its limits. "start": until the networks are loaded; "first": until the
            first frame; "capture": a source asked for a frame; "work": from a frame's capture to
            its end, sinks included; "finish": completing the outputs. Of several cameras each has
            its own "first 1", "capture 1" and so on, by the limits of "first" and "capture".
        restarts: how many restarts are allowed in `within_s`; one more death means safe mode.
        within_s: seconds over which restarts are counted.
        stop_ms: time a run has to end after SIGTERM before it is killed.
        probation_tries: starts that a newly installed bundle has to prove itself, this run's or,
            unsupervised, the process's own; then the one before it flies again.
        probation_frames, probation_s: it has proven itself once it has answered so many published
            frames in one start, and flown for so many seconds.
    """

    limits: dict[str, Limits] = field(default_factory=dict)
    restarts: int = 5
    within_s: float = 60.0
    stop_ms: float = 1000.0
    probation_tries: int = 3
    probation_frames: int = 300
    probation_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.restarts <= 1000:
            raise ValueError(f"restarts must be from 0 to 1000, not {self.restarts}")
        if not self.within_s > 0:
            raise ValueError(f"within_s must be above 0, not {self.within_s:g}")
        if not self.stop_ms > 0:
            raise ValueError(f"stop_ms must be above 0, not {self.stop_ms:g}")
        if not 1 <= self.probation_tries <= 1000:
            raise ValueError(f"probation_tries must be from 1 to 1000, not {self.probation_tries}")
        if self.probation_frames < 1 or self.probation_s < 0:
            raise ValueError(
                "needs probation_frames >= 1 and probation_s >= 0, not "
                f"{self.probation_frames}, {self.probation_s:g}"
            )

    def limits_of(self, heartbeat: str) -> Limits:
        """Return the limits of one heartbeat: those set, or the usual ones."""
        kind = heartbeat.partition(" ")[0]
        return self.limits.get(kind) or _KNOWN.get(kind) or Limits()
