"""What the report needs from a run of any length, in bounded memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import cv2

from rille.draw import annotate, canvas_size
from rille.result import Result, State
from rille.sinks.base import Sink

MAX_BINS = 480
PICTURES = 12


@dataclass(slots=True)
class Bin:
    """Consecutive frames of the timeline taken together.

    Attributes:
        first: index of its first frame.
        frames: how many.
        max_age_ms, sum_age_ms: over the published ones.
        published, late, dropped, failed, shed: how many of each.
    """

    first: int
    frames: int = 0
    max_age_ms: float = 0.0
    sum_age_ms: float = 0.0
    published: int = 0
    late: int = 0
    dropped: int = 0
    failed: int = 0
    shed: int = 0

    def add(self, result: Result) -> None:
        """Count one frame."""
        self.frames += 1
        if result.published:
            self.published += 1
            self.sum_age_ms += result.age_ms
            self.max_age_ms = max(self.max_age_ms, result.age_ms)
        self.late += result.state is State.LATE
        self.dropped += result.state is State.DROPPED
        self.failed += result.state is State.FAILED
        self.shed += bool(result.shed)

    def merge(self, other: Bin) -> None:
        """Take the frames of the bin after this one."""
        self.frames += other.frames
        self.max_age_ms = max(self.max_age_ms, other.max_age_ms)
        self.sum_age_ms += other.sum_age_ms
        self.published += other.published
        self.late += other.late
        self.dropped += other.dropped
        self.failed += other.failed
        self.shed += other.shed


class RunRecord(Sink):
    """Collects the timeline, the labels and annotated pictures of a run.

    The timeline's bins double in width when there are too many; the pictures are spread evenly.

    Attributes:
        bins: the timeline.
        labels: label -> confident answers.
        abstained: answers below the bundle's threshold.
        unfamiliar: answers to pictures unlike those trained on.
        features: features found in all.
        segmented: frames that were segmented.
    """

    def __init__(self) -> None:
        self.bins: list[Bin] = []
        self.labels: Counter[str] = Counter()
        self.abstained = 0
        self.unfamiliar = 0
        self.features = 0
        self.segmented = 0
        self._width = 1
        self._kept: list[tuple[int, bytes]] = []
        self._stride = 1
        self._seen = 0

    def write(self, result: Result) -> None:
        """Take one result."""
        if not self.bins or self.bins[-1].frames >= self._width:
            self.bins.append(Bin(result.index))
            if len(self.bins) > MAX_BINS:
                self._halve()
        self.bins[-1].add(result)
        if result.classification is not None:
            self.unfamiliar += result.classification.out_of_distribution
            if result.classification.abstained:
                self.abstained += 1
            else:
                self.labels[result.classification.label] += 1
        if result.segmentation is not None:
            self.segmented += 1
            self.features += len(result.features)
        if result.published and result.frame is not None:
            if self._seen % self._stride == 0:
                self._keep(result)
            self._seen += 1

    def pictures(self) -> list[tuple[int, bytes]]:
        """Return up to `PICTURES` (frame index, JPEG bytes), evenly spread over the run."""
        count = len(self._kept)
        if count <= PICTURES:
            return list(self._kept)
        return [self._kept[round(k * (count - 1) / (PICTURES - 1))] for k in range(PICTURES)]

    def _halve(self) -> None:
        last = self.bins.pop()
        for even, odd in zip(self.bins[::2], self.bins[1::2], strict=False):
            even.merge(odd)
        self.bins = [*self.bins[::2], last]
        self._width *= 2

    def _keep(self, result: Result) -> None:
        assert result.frame is not None
        picture = annotate(result, canvas_size(result.frame.width, result.frame.height))
        good, data = cv2.imencode(
            ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82]
        )
        if good:
            self._kept.append((result.index, data.tobytes()))
        if len(self._kept) >= 4 * PICTURES:
            self._kept = self._kept[::2]
            self._stride *= 2
