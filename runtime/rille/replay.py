"""Working on a recording once more, with the clock as it was read then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rille.errors import SourceError
from rille.frame import Frame
from rille.recording.messages import result_record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.recording import Recorded, Recording
    from rille.result import Result

_MAX_SIDE_PX = 65_536


class Worker(Protocol):
    """What a pipeline can do with a recorded frame."""

    def replay(self, frame: Frame, readings_ns: Mapping[str, int]) -> Result:
        """Work on a frame with recorded readings in place of the clock."""
        ...


def replay(recording: Recording, worker: Worker) -> Iterator[tuple[Recorded, dict[str, Any]]]:
    """Work on the frames of a recording in their order.

    Frames that nobody worked on (superseded, missed, shutdown, undecodable) have nothing to be
    worked on and come out as they were recorded. A frame that expired comes without its pixels,
    which decided nothing: the clock alone did, and decides once more.

    Yields:
        Each frame as recorded, and the record of its new result.

    Raises:
        SourceError: the recording is damaged, or lacks what a replay needs.
        InferenceError: an engine failed as a whole.
    """
    for recorded in recording.frames():
        if not _decided_by_clock(recorded.record):
            yield recorded, dict(recorded.record)
            continue
        readings = _readings(recorded)
        yield recorded, result_record(worker.replay(_frame(recorded), readings))


def _decided_by_clock(record: Mapping[str, Any]) -> bool:
    if record.get("state") == "dropped":
        return record.get("cause") == "expired"
    return "size_px" in record


def _readings(recorded: Recorded) -> dict[str, int]:
    readings = recorded.record.get("readings_ns")
    if not isinstance(readings, Mapping) or not all(_whole(v) for v in readings.values()):
        raise SourceError(f"frame {recorded.index}: its clock readings are missing or damaged")
    return {str(name): value for name, value in readings.items()}


def _frame(recorded: Recorded) -> Frame:
    record = recorded.record
    captured, source = record.get("captured_ns"), record.get("source_ns")
    if not isinstance(captured, int) or not (source is None or _whole(source)):
        raise SourceError(f"frame {recorded.index}: its times are missing or damaged")
    blank = record.get("state") == "dropped"
    return Frame(
        pixels=_blank(recorded) if blank else _pixels(recorded),
        index=recorded.index,
        captured_ns=captured,
        name=str(record.get("name", "")),
        source_ns=source,
        vehicle=recorded.vehicle(),
    )


def _pixels(recorded: Recorded) -> NDArray[np.uint8]:
    if recorded.image is None:
        raise SourceError(
            f"frame {recorded.index}: recorded without pixels; record with: rille record"
        )
    return recorded.pixels()


def _blank(recorded: Recorded) -> NDArray[np.uint8]:
    size = recorded.record.get("size_px")
    if not isinstance(size, list) or len(size) != 2 or not all(_side(n) for n in size):
        raise SourceError(f"frame {recorded.index}: its size is missing or damaged")
    # One byte stands for all: nothing looks at it, and it takes no memory.
    return np.broadcast_to(np.zeros((1, 1), np.uint8), (size[1], size[0]))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _side(value: Any) -> bool:
    return _whole(value) and 0 < value <= _MAX_SIDE_PX
