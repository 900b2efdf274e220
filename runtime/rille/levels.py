"""Operating levels: how much of the work is done while the board or the rate asks for less.

What a frame's deadline has no room for is decided for each frame, see `rille.cost`. The levels here
hold for longer: segmentation on every frame, on every second, every fourth, on none.
"""

from __future__ import annotations

from dataclasses import dataclass

from rille.frame import Frame

ORDER = (
    "full",
    "lighter",
    "segment-every-2",
    "segment-every-4",
    "segment-only",
    "classify-only",
    "capture-only",
)
"""Every operating level, from the most work to the least."""

_STRAIN_STEP_NS = 10_000_000_000
_WINDOW_NS = 1_000_000_000
_LOST_SHARE = 0.05
_FIRST_HOLD_NS, _LONGEST_HOLD_NS = 4_000_000_000, 64_000_000_000


@dataclass(frozen=True, slots=True)
class Level:
    """An operating level.

    Attributes:
        name: one of `ORDER`.
        every: segmentation runs on every so many frames; 0 for never.
    """

    name: str
    every: int


_CADENCES = (Level("full", 1), Level("segment-every-2", 2), Level("segment-every-4", 4))
_NEVER = Level("classify-only", 0)


class LevelController:
    """Chooses the operating level from strain on the board and from frames that get lost.

    Strain lowers it by one at once and by one more every ten seconds; when it is gone, the level
    rises at the same pace. With `keep_up`, a second in which more than a twentieth of the frames
    got lost lowers it by one; it rises after four seconds without, and waits twice as long, up to
    64 s, each time that rising was wrong. Deterministic: times come from outside.

    Args:
        classify, segment: which stages there are.
        keep_up: whether lost frames count.

    Attributes:
        reason: why the level is what it is; "" at full.
    """

    def __init__(self, *, classify: bool, segment: bool, keep_up: bool = False) -> None:
        self._ladder = _CADENCES[: 3 if segment else 1]
        if classify and segment:
            self._ladder = (*self._ladder, _NEVER)
        self._keep_up = keep_up
        self.reason = ""
        self._by_strain = self._by_rate = 0
        self._strain_ns: int | None = None
        self._window_ns: int | None = None
        self._frames = self._lost = 0
        self._rate_ns = 0
        self._hold_ns = _FIRST_HOLD_NS
        self._raised_ns: int | None = None

    def decide(self, now_ns: int, *, strained: bool, lost: int) -> Level:
        """Return the level of the frame that is begun now.

        Args:
            now_ns: monotonic time.
            strained: whether the board is too hot, throttled or short of power.
            lost: frames that were replaced by newer ones since the last call.
        """
        self._follow_strain(now_ns, strained)
        if self._keep_up:
            self._follow_rate(now_ns, lost)
        depth = min(max(self._by_strain, self._by_rate), len(self._ladder) - 1)
        self.reason = ""
        if depth:
            by_strain = self._by_strain >= self._by_rate
            self.reason = "the board is strained" if by_strain else "frames got lost"
        return self._ladder[depth]

    def _follow_strain(self, now_ns: int, strained: bool) -> None:
        if not strained and not self._by_strain:
            self._strain_ns = None
            return
        if self._strain_ns is not None and now_ns - self._strain_ns < _STRAIN_STEP_NS:
            return
        if strained:
            self._by_strain = min(self._by_strain + 1, len(self._ladder) - 1)
        elif self._strain_ns is not None:
            self._by_strain -= 1
        self._strain_ns = now_ns

    def _follow_rate(self, now_ns: int, lost: int) -> None:
        self._frames, self._lost = self._frames + 1 + lost, self._lost + lost
        if self._window_ns is None:
            self._window_ns = self._rate_ns = now_ns
        if now_ns - self._window_ns < _WINDOW_NS:
            return
        crowded = self._lost > _LOST_SHARE * self._frames
        self._window_ns, self._frames, self._lost = now_ns, 0, 0
        if crowded:
            if self._raised_ns is not None and now_ns - self._raised_ns <= 3 * _WINDOW_NS:
                self._hold_ns = min(2 * self._hold_ns, _LONGEST_HOLD_NS)
            self._raised_ns = None
            self._by_rate = min(self._by_rate + 1, len(self._ladder) - 1)
            self._rate_ns = now_ns
        elif self._by_rate and now_ns - self._rate_ns >= self._hold_ns:
            self._by_rate -= 1
            self._rate_ns = self._raised_ns = now_ns
        elif not self._by_rate and now_ns - self._rate_ns >= 4 * _LONGEST_HOLD_NS:
            self._hold_ns = _FIRST_HOLD_NS


class Period:
    """The time between two frames of a camera, as the median of the last few."""

    def __init__(self) -> None:
        self._last: Frame | None = None
        self._gaps: list[float] = []

    def see(self, frame: Frame) -> None:
        """Take note of a frame; frames that were lost in between count."""
        if self._last is not None and frame.index > self._last.index:
            gap = (frame.captured_ns - self._last.captured_ns) / (frame.index - self._last.index)
            self._gaps = [*self._gaps[-14:], gap]
        self._last = frame

    def left_ms(self, now_ns: int) -> float:
        """Return the milliseconds until the next frame is due; 0 while that is not known."""
        if self._last is None or len(self._gaps) < 3:
            return 0.0
        typical = sorted(self._gaps)[len(self._gaps) // 2]
        return (self._last.captured_ns + typical - now_ns) / 1e6
