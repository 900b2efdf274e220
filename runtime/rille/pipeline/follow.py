"""Features of an earlier frame where segmentation was left out, if following them still fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rille.cost import CostModel
from rille.pipeline.moments import Moments
from rille.pipeline.stages import Work
from rille.result import Segmentation, Tracked
from rille.tracking import FeatureTracker

if TYPE_CHECKING:
    from rille.frame import Frame

_QUANTILE, _MARGIN_MS = 0.95, 0.5


class Follow:
    """Keeps features in sight between two segmentations, within each frame's deadline."""

    def __init__(self) -> None:
        self._tracker = FeatureTracker()
        self._cost = CostModel(_QUANTILE)

    def __call__(
        self, frame: Frame, work: Work, deadline_ns: int, moments: Moments
    ) -> Tracked | None:
        """Return the features followed into a frame; None where it was segmented, or no time is."""
        segmentation = work.answer(Segmentation)
        if segmentation is not None:
            self._tracker.found(frame.pixels, segmentation.features, frame.captured_ns)
            return None
        begin = moments.now("track begin")
        left_ms = (deadline_ns - begin) / 1e6 - _MARGIN_MS
        if not self._cost.admits(left_ms):
            return None
        tracked = self._tracker.follow(frame.pixels, frame.captured_ns)
        self._cost.record((moments.now("track end") - begin) / 1e6, left_ms)
        return tracked
