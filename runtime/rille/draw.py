"""A frame with its results drawn in, for videos and reports."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import cv2
import numpy as np

from rille.colours import COLOURS, OTHER
from rille.result import Result, State

if TYPE_CHECKING:
    from numpy.typing import NDArray

PANEL_PX = 64
_LEAST_WIDTH, _MOST_WIDTH, _MOST_HEIGHT = 480, 1280, 1280
_BACK, _INK, _DIM = (18, 20, 26), (235, 235, 235), (150, 155, 165)
_STAGES = {"classify": (90, 170, 255), "segment": (255, 140, 90), "lighter": (255, 190, 110)}
_ENDS = ("begin", "end")
_WAITED = (110, 115, 125)
_STATES = {
    State.OK: (90, 200, 120),
    State.LATE: (255, 170, 60),
    State.DROPPED: (160, 160, 160),
    State.FAILED: (255, 90, 90),
}
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def canvas_size(width: int, height: int) -> tuple[int, int]:
    """Return the (width, height) of the picture for frames of this size, panel included.

    Small frames are enlarged and large ones reduced, so that the words stay readable; very tall
    ones stand between empty margins. Both sides are even, as video encoders ask.
    """
    scale = min(max(1.0, _LEAST_WIDTH / width), _MOST_WIDTH / width, _MOST_HEIGHT / height)
    wide = max(round(width * scale / 2) * 2, _LEAST_WIDTH)
    return wide, max(round(height * scale / 2) * 2, 2) + PANEL_PX


def annotate(result: Result, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Draw a frame with its craters, its label and its budget bar.

    Args:
        result: the result; a frame that could not be decoded gives an empty picture.
        size: (width, height) in pixels, from `canvas_size`; a frame of another shape is fitted in.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    width, height = size
    picture = np.full((height, width, 3), _BACK, np.uint8)
    if result.frame is not None:
        _draw_frame(picture[: height - PANEL_PX], result)
    _draw_panel(picture[height - PANEL_PX :], result)
    return picture


def _draw_frame(view: NDArray[np.uint8], result: Result) -> None:
    """Fit the frame into `view` in place and outline its features."""
    assert result.frame is not None
    pixels = result.frame.pixels
    scale = min(view.shape[1] / pixels.shape[1], view.shape[0] / pixels.shape[0])
    inner_w = max(1, round(pixels.shape[1] * scale))
    inner_h = max(1, round(pixels.shape[0] * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    image = cv2.resize(pixels, (inner_w, inner_h), interpolation=how)
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    left, top = (view.shape[1] - inner_w) // 2, (view.shape[0] - inner_h) // 2
    inside = view[top : top + inner_h, left : left + inner_w]
    inside[:] = image
    _tint(inside, result)
    sx, sy = inner_w / pixels.shape[1], inner_h / pixels.shape[0]
    for feature in result.features:
        if feature.label in ("stone", "artifact"):
            continue  # their pixels are tinted; an outline each would hide them
        e = feature.ellipse.mapped(sx, sy, left + 0.5 * sx - 0.5, top + 0.5 * sy - 0.5)
        # Sure features are drawn strong, doubtful ones faint.
        strength = 0.45 + 0.55 * min(1.0, feature.score / 0.7)
        colour = tuple(round(strength * c) for c in COLOURS.get(feature.label, OTHER))
        box = ((e.x, e.y), (2 * e.semi_major, 2 * e.semi_minor), e.angle_deg)
        cv2.ellipse(view, box, colour, 1, cv2.LINE_AA)


def _tint(view: NDArray[np.uint8], result: Result) -> None:
    """Colour the pixels of a class mask in place; a mask of one label is told by its features."""
    segmentation = result.segmentation
    if segmentation is None or len(segmentation.shares) < 2:
        return
    mask = cv2.resize(
        segmentation.in_image(), (view.shape[1], view.shape[0]), interpolation=cv2.INTER_NEAREST
    )
    for value, label in enumerate(segmentation.shares, 1):
        if label in COLOURS:
            where = mask == value
            mixed = 0.6 * view[where] + 0.4 * np.array(COLOURS[label], np.float32)
            view[where] = mixed.astype(np.uint8)


def _counted(result: Result) -> str:
    """Return how many of each thing were found, in words."""
    counts = Counter(feature.label for feature in result.features)
    words = [f"{n} {label}{'s' * (n != 1)}" for label, n in counts.most_common()]
    return ", ".join(words) or "nothing found"


def _draw_panel(panel: NDArray[np.uint8], result: Result) -> None:
    """Write state, label and counts, and draw the budget bar."""
    width = panel.shape[1]
    state = result.state.value.upper()
    _text(panel, f"#{result.index}", 10, 20, _DIM)
    _text(panel, state, 70, 20, _STATES[result.state])
    if result.error or result.cause:
        _text(panel, str(result.error or result.cause)[: width // 9], 150, 20, _DIM)
    c = result.classification
    if c is not None:
        label = f"{c.label} {100 * c.probability:.0f} %"
        doubtful = c.abstained or c.out_of_distribution
        words = f"({label}?)" if doubtful else label
        words += f" unlike training, {c.ood_score:.1f}" if c.out_of_distribution else ""
        _text(panel, words, 150, 20, _DIM if doubtful else _INK)
    if result.segmentation is not None or result.tracked is not None:
        followed = "" if result.tracked is None else f" {result.tracked.age_frames} frames ago"
        count = _counted(result) + followed
        colour = COLOURS.get(result.features[0].label, OTHER) if result.features else _DIM
        _text(panel, count, width - 12 - _text_width(count), 20, colour)
    _draw_bar(panel, result)


def _draw_bar(panel: NDArray[np.uint8], result: Result) -> None:
    """Draw the frame's age against its budget: the age grey, on it each stage when it ran.

    Of two stages that ran at the same time one stands above the other.
    """
    left, right, top, bottom = 10, panel.shape[1] - 190, 38, 50
    scale = (right - left) / (result.deadline_ms * 1.25)

    def bar(begin_ms: float, end_ms: float, rows: tuple[int, int], colour: tuple[int, ...]) -> None:
        x, end = left + begin_ms * scale, min(left + end_ms * scale, right)
        if end > x:
            cv2.rectangle(panel, (round(x), rows[0]), (round(end), rows[1]), colour, cv2.FILLED)

    bar(0.0, result.deadline_ms * 1.25, (top, bottom), (40, 43, 52))
    bar(0.0, result.age_ms, (top, bottom), _WAITED)
    spans = {
        name: [(result.readings_ns[f"{name} {at}"] - result.captured_ns) / 1e6 for at in _ENDS]
        for name in _STAGES
        if all(f"{name} {at}" in result.readings_ns for at in _ENDS)
    }
    middle = (top + bottom) // 2
    for name, (begin_ms, end_ms) in spans.items():
        beside = any(
            other != name and span[0] < end_ms and begin_ms < span[1]
            for other, span in spans.items()
        )
        half = (top, middle) if name == "classify" else (middle, bottom)
        bar(begin_ms, end_ms, half if beside else (top, bottom), _STAGES[name])
    mark = round(left + result.deadline_ms * scale)
    cv2.line(panel, (mark, top - 4), (mark, bottom + 4), _INK, 1)
    words = f"{result.age_ms:.1f} of {result.deadline_ms:g} ms"
    _text(panel, words, right + 12, 50, _STATES[result.state])


def _text(image: NDArray[np.uint8], words: str, x: int, y: int, colour: tuple[int, ...]) -> None:
    cv2.putText(image, words, (x, y), _FONT, 0.5, colour, 1, cv2.LINE_AA)


def _text_width(words: str) -> int:
    return cv2.getTextSize(words, _FONT, 0.5, 1)[0][0]
