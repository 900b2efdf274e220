"""What rille says about a frame."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.ellipse import Ellipse
    from rille.frame import Frame
    from rille.preprocess import Geometry


class State(str, enum.Enum):
    """The one state in which each captured frame ends."""

    OK = "ok"
    """Published within its deadline."""
    LATE = "late"
    """Published, but after its deadline."""
    DROPPED = "dropped"
    """Never worked on; the cause is given."""
    FAILED = "failed"
    """Could not be decoded or worked on; the error is given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Classification:
    """The answer of a classifier, of one class among many or of independent labels.

    Attributes:
        label: name of the most probable class; of independent labels those that hold, joined by
            " + ", or "plain" where none does.
        label_id: its published id; -1 for independent labels.
        probability: calibrated probability of that class, 0 to 1; of independent labels that of the
            least certain decision, 0.5 to 1 where thresholds are 0.5.
        entropy: entropy of the calibrated probabilities divided by its maximum, 0 to 1; of
            independent labels the mean over them.
        abstained: whether the probability is below the bundle's threshold: do not act on it.
        probabilities: (classes,) float32, calibrated, in the order of the bundle's labels.
        labels: independent labels by name: the calibrated probability that each holds; empty for
            one class among many.
        present: the independent labels that hold.
        logits: (classes,) float32, what the network itself said; the same on every machine where
            its kernels are exact, which powers and sums made from it need not be.
        ood_score: how unlike the picture is to those the network was made for: at 1, only one in
            twenty of them is as unlike; None where the bundle cannot tell. See
            `rille.familiarity`.
    """

    label: str
    label_id: int
    probability: float
    entropy: float
    abstained: bool
    probabilities: NDArray[np.float32] = field(repr=False)
    labels: Mapping[str, float] = field(default_factory=dict)
    present: tuple[str, ...] = ()
    logits: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32), repr=False)
    ood_score: float | None = None

    @property
    def out_of_distribution(self) -> bool:
        """Whether the picture is not of the kind that the network was made for."""
        return self.ood_score is not None and self.ood_score > 1.0

    def to_json(self) -> dict[str, Any]:
        """Return it as a record: the answer, and what is said besides, if anything is."""
        record: dict[str, Any] = {
            "label": self.label,
            "label_id": self.label_id,
            "probability": round(self.probability, 4),
            "entropy": round(self.entropy, 4),
            "abstained": self.abstained,
        }
        if self.ood_score is not None:
            record["ood_score"] = round(self.ood_score, 4)
            record["out_of_distribution"] = self.out_of_distribution
        if self.labels:
            record["labels"] = {name: round(p, 4) for name, p in self.labels.items()}
        return record


class Feature(NamedTuple):
    """One thing found in a frame, as an ellipse in source-image pixels.

    Attributes:
        label: what it is ("crater").
        ellipse: centre, half axes and angle in source-image pixels.
        score: the network's confidence, 0 to 1.
    """

    label: str
    ellipse: Ellipse
    score: float

    def to_json(self) -> dict[str, Any]:
        """Return it with rounded numbers, for a results file."""
        e = self.ellipse
        return {
            "label": self.label,
            "x_px": round(e.x, 2),
            "y_px": round(e.y, 2),
            "semi_major_px": round(e.semi_major, 2),
            "semi_minor_px": round(e.semi_minor, 2),
            "angle_deg": round(e.angle_deg, 1),
            "area_px": round(e.area, 1),
            "score": round(self.score, 4),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Tracked:
    """Features of an earlier frame, followed by the motion of the picture; see `rille.tracking`.

    Attributes:
        features: where they are now, best score first; nothing new is among them.
        age_frames: frames since they were found.
        age_ms: milliseconds since the frame was captured that they were found in.
    """

    features: tuple[Feature, ...]
    age_frames: int
    age_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Segmentation:
    """The answer of a segmenter.

    Attributes:
        mask: (h, w) uint8, k where label k - 1 of the bundle was found, 0 elsewhere, on the
            network's output grid.
        geometry: where that grid's pixels lie in the source image.
        features: the things found, best score first.
        coverage: share of the frame that the mask covers, 0 to 1.
        shares: label -> share of the frame it covers, 0 to 1.
        cell_px: (x, y) network pixels in one cell of the mask.
        turned: how the frame was turned for the network's light; everything here is turned back.
        sun_off_deg: angle that then remained between the Sun and the network's side; None where it
            has none, or the Sun is not known.
    """

    mask: NDArray[np.uint8] = field(repr=False)
    geometry: Geometry = field(repr=False)
    features: tuple[Feature, ...]
    coverage: float
    shares: Mapping[str, float] = field(default_factory=dict)
    cell_px: tuple[float, float] = (1.0, 1.0)
    turned: str = ""
    sun_off_deg: float | None = None

    def in_image(self) -> NDArray[np.uint8]:
        """Return the mask in the pixels of the source image, (H, W) uint8, nearest cell."""
        g = self.geometry
        rows, columns = self.mask.shape
        x = (np.arange(g.source_width) + 0.5) * g.scale_x + g.left
        y = (np.arange(g.source_height) + 0.5) * g.scale_y + g.top
        u = np.clip((x / self.cell_px[0]).astype(np.intp), 0, columns - 1)
        v = np.clip((y / self.cell_px[1]).astype(np.intp), 0, rows - 1)
        return np.asarray(self.mask[v[:, None], u], np.uint8)


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One captured frame and what became of it.

    Attributes:
        frame: the frame; None where it could not even be decoded.
        index: the frame's index.
        state: how it ended.
        captured_ns, published_ns: monotonic times.
        deadline_ms: age at which it would be late.
        level: what was done: "full", or the parts left, or "capture-only".
        classification: None where that stage is absent, was shed or failed.
        segmentation: likewise.
        tracked: features followed from an earlier frame, where segmentation did not run.
        shed: stages left out because they were predicted not to fit, or by the operating level.
        reason: why something was left out, for people; "" where nothing was.
        timings_ms: stage name -> milliseconds.
        cause: why it was dropped.
        error: why it failed.
        bundles: stage name -> digest of the bundle that answered.
        quality: what is wrong with the picture; see `rille.quality`.
        readings_ns: every reading of the monotonic clock, and every other input, on which a
            decision about the frame rested, by name; `Pipeline.replay` takes them.
    """

    frame: Frame | None
    index: int
    state: State
    captured_ns: int
    published_ns: int
    deadline_ms: float
    level: str = "capture-only"
    classification: Classification | None = None
    segmentation: Segmentation | None = None
    tracked: Tracked | None = None
    shed: tuple[str, ...] = ()
    reason: str = ""
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    cause: str | None = None
    error: str | None = None
    bundles: Mapping[str, str] = field(default_factory=dict, repr=False)
    quality: tuple[str, ...] = ()
    readings_ns: Mapping[str, int] = field(default_factory=dict, repr=False)

    @property
    def age_ms(self) -> float:
        """Milliseconds from capture to publication."""
        return (self.published_ns - self.captured_ns) / 1e6

    @property
    def features(self) -> tuple[Feature, ...]:
        """The features found, else those followed from an earlier frame, else none."""
        source = self.segmentation or self.tracked
        return source.features if source is not None else ()

    @property
    def published(self) -> bool:
        """Whether it carries answers (in time or late)."""
        return self.state in (State.OK, State.LATE)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the pixels, for one line of a results file."""
        record: dict[str, Any] = {
            "frame": self.index,
            "name": self.frame.name if self.frame else "",
            "state": self.state.value,
            "captured_ns": self.captured_ns,
            "published_ns": self.published_ns,
            "age_ms": round(self.age_ms, 3),
            "deadline_ms": self.deadline_ms,
            "level": self.level,
            "shed": list(self.shed),
            "quality": list(self.quality),
            "timings_ms": {k: round(v, 3) for k, v in self.timings_ms.items()},
            "classification": None,
            "segmentation": None,
            "bundles": dict(self.bundles),
            "readings_ns": dict(self.readings_ns),
        }
        if self.reason:
            record["reason"] = self.reason
        if self.cause is not None:
            record["cause"] = self.cause
        if self.error is not None:
            record["error"] = self.error
        if self.frame is not None:
            record["size_px"] = [self.frame.width, self.frame.height]
            if self.frame.source_ns is not None:
                record["source_ns"] = self.frame.source_ns
            if self.frame.vehicle is not None:
                record["vehicle"] = self.frame.vehicle.to_json()
        c, s = self.classification, self.segmentation
        if c is not None:
            record["classification"] = c.to_json()
        if s is not None:
            record["segmentation"] = {
                "coverage": round(s.coverage, 4),
                "shares": {name: round(share, 4) for name, share in s.shares.items()},
                "features": [f.to_json() for f in s.features],
            }
            if s.turned:
                record["segmentation"]["turned"] = s.turned
            if s.sun_off_deg is not None:
                record["segmentation"]["sun_off_deg"] = round(s.sun_off_deg, 1)
        if self.tracked is not None:
            record["tracked"] = {
                "age_frames": self.tracked.age_frames,
                "age_ms": round(self.tracked.age_ms, 3),
                "features": [f.to_json() for f in self.tracked.features],
            }
        return record
