"""A network of canonical light in a pipeline: frames turned for it, its answers turned back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rille.errors import InferenceError
from rille.events import EventLog
from rille.light import Turn
from rille.network import Network, Ready, StageTimes
from rille.result import Segmentation
from rille.sun import Plan, SunTracker

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.frame import Frame
    from rille.postprocess.guard import OutputGuard
    from rille.preprocess import Views


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A frame to be looked at once more, turned otherwise."""

    plan: Plan
    frame: Frame
    answer: Segmentation


class Light:
    """Turns the frames of one source for one network; see `rille.sun`.

    Args:
        network: a segmenter whose contract names a light.
        events: where to tell what becomes known of the Sun.
    """

    def __init__(self, network: Network, events: EventLog) -> None:
        self._network = network
        self._sun = SunTracker(network.contract.light, events)
        self._buffer: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)
        self._plan = Plan(Turn(), None)
        self._doubt: _Doubt | None = None

    @classmethod
    def of(cls, network: Network, events: EventLog) -> Light | None:
        """Return one for a network that needs it, None for any other."""
        contract = network.contract
        return cls(network, events) if contract.light and contract.task == "segmentation" else None

    def prepare(self, frame: Frame, views: Views) -> Ready:
        """Turn a frame and make it ready; see `Network.prepare`.

        Args:
            frame: the frame.
            views: of the frame as it is.
        """
        self._plan = self._sun.plan(frame.vehicle)
        turned = self._turned(self._plan.turn, frame.pixels)
        return self._network.prepare(turned, views if turned is frame.pixels else None)

    def answer(
        self, frame: Frame, ready: Ready, guard: OutputGuard
    ) -> tuple[Segmentation, StageTimes, tuple[str, ...]]:
        """Answer for the frame that was last made ready, with what is doubtful about the light.

        Raises:
            InferenceError: see `Network.answer`.
        """
        plan = self._plan
        answer, times = self._network.answer(ready, guard)
        assert isinstance(answer, Segmentation)
        answer = plan.turn.restore(answer)
        self._doubt = _Doubt(plan, frame, answer) if plan.probe is not None else None
        return answer, times, self._sun.judge(plan, answer)

    @property
    def doubtful(self) -> bool:
        """Whether the last frame should be looked at once more, in time that nobody needs."""
        return self._doubt is not None

    def look_again(self) -> None:
        """Look at the last frame turned otherwise, and learn from which way more is found."""
        doubt, self._doubt = self._doubt, None
        if doubt is None or doubt.plan.probe is None:
            return
        try:
            found, _ = self._network.run(self._turned(doubt.plan.probe, doubt.frame.pixels))
        except InferenceError:
            return  # tells nothing of the light; a frame that needs the network will say so
        assert isinstance(found, Segmentation)
        self._sun.judge(doubt.plan, doubt.answer, doubt.plan.probe.restore(found))

    def _turned(self, turn: Turn, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a turned picture in a buffer that is made anew only when its shape changes."""
        rows, columns = pixels.shape[:2]
        shape = (columns, rows) if turn.quarters % 2 else (rows, columns)
        if self._buffer.shape != shape + pixels.shape[2:]:
            self._buffer = np.empty(shape + pixels.shape[2:], np.uint8)
        return turn.apply(pixels, self._buffer)
