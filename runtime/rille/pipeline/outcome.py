"""What was done on a frame, in words: its level, what was left out, whose answers they are."""

from __future__ import annotations

from collections.abc import Mapping

from rille.pipeline.course import Agenda
from rille.pipeline.stages import Stage, Work

_OTHER = {"classify": "segment", "segment": "classify"}


def left_out(stages: Mapping[str, Stage], work: Work) -> tuple[str, ...]:
    """Return the jobs of a pipeline that were not done on a frame."""
    ran = {"segment" if name == "lighter" else name for name in work.ran}
    return tuple(name for name in _OTHER if name in stages and name not in ran)


def reached(agenda: Agenda, work: Work, shed: tuple[str, ...]) -> str:
    """Return the operating level of a frame; one of `rille.levels.ORDER`.

    Args:
        agenda: what was to be done.
        work: what was done.
        shed: see `left_out`.
    """
    level = agenda.level
    if agenda.skipped and (level.every or "classify" in work.ran):
        return level.name
    if not shed:
        return "lighter" if level.name == "full" and "lighter" in work.ran else level.name
    return f"{_OTHER[shed[0]]}-only" if work.ran else "capture-only"


def digests(stages: Mapping[str, Stage], work: Work) -> dict[str, str]:
    """Return job -> digest of the bundle that answers, or would have."""
    bundles = {name: stage.network.bundle for name, stage in stages.items()}
    lighter = bundles.pop("lighter", None)
    if "lighter" in work.ran:
        bundles["segment"] = lighter
    return {name: bundle.digest for name, bundle in bundles.items() if bundle is not None}
