"""Reading a recording frame by frame; nothing in the file is trusted."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rille.errors import FrameDecodeError, SourceError
from rille.images import decode_image
from rille.recording import topics
from rille.recording.container import Ending, read_records
from rille.recording.foxglove import unpack
from rille.recording.library import library
from rille.schema import build
from rille.vehicle import Vehicle

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_EVENTS = 10_000
"""How many of its last events a recording keeps while it is read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """One captured frame as it was recorded.

    Attributes:
        index: its index.
        record: the result record; see `rille.recording.messages.result_record`.
        image: the encoded frame; None where it was not worked on, or pixels were left out.
        lossless: whether `image` gives every pixel back.
        mask_image: the encoded mask; None without one.
    """

    index: int
    record: Mapping[str, Any]
    image: bytes | None = field(default=None, repr=False)
    lossless: bool = False
    mask_image: bytes | None = field(default=None, repr=False)

    def pixels(self) -> NDArray[np.uint8]:
        """Return the frame, (H, W, 3) uint8 RGB or (H, W) uint8.

        Raises:
            FrameDecodeError: it was not recorded, or its image is damaged.
        """
        if self.image is None:
            raise FrameDecodeError(f"frame {self.index}: its pixels were not recorded")
        return decode_image(self.image, f"frame {self.index}")

    def vehicle(self) -> Vehicle | None:
        """Return what the vehicle knew about the frame; None where it knew nothing.

        Raises:
            SourceError: what is recorded of it is damaged.
        """
        told = self.record.get("vehicle")
        if told is None:
            return None
        return build(Vehicle, told, f"frame {self.index}: vehicle", SourceError)

    def mask(self) -> NDArray[np.uint8] | None:
        """Return the mask as the network gave it, (h, w) uint8; None without one.

        Raises:
            FrameDecodeError: its image is damaged.
        """
        if self.mask_image is None:
            return None
        return decode_image(self.mask_image, f"mask of frame {self.index}")


class Recording:
    """A recording of a run; see `open_recording`.

    Attributes:
        path: the file.
        about: what it says of itself: machine, system, python, clock_offset_ns, pixels.
        config: the run's configuration as TOML; empty where the recorder was told none.
        stages: stage name -> name, version and digest of its bundle, variant and engine.
        events: the last events met by `frames`, as records.
        missing: after `frames` came to its end: indices that no record has, between the lowest and
            the highest: results that the recorder had no time for.
        cut: after `frames` came to its end: empty, or what is missing at the end of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.about: dict[str, str] = {}
        self.config = ""
        self.stages: dict[str, dict[str, str]] = {}
        self.events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)
        self.missing = 0
        self._ending = Ending()
        self._read_head()

    @property
    def cut(self) -> str:
        """What is missing at the end of the file."""
        return self._ending.cut

    def frames(self) -> Iterator[Recorded]:
        """Read every frame of which the record is whole, in the order of the file.

        Raises:
            SourceError: the file is damaged; what was yielded before is sound.
        """
        self._ending.cut = ""
        self.events.clear()
        parts: dict[str, tuple[int, bytes]] = {}
        lowest, highest, count = None, -1, 0
        for topic, message in read_messages(self.path, self._ending):
            if topic == topics.RESULT:
                frame = self._assemble(message, parts)
                parts.clear()
                lowest = frame.index if lowest is None else min(lowest, frame.index)
                highest, count = max(highest, frame.index), count + 1
                yield frame
            elif topic in (topics.IMAGE, topics.MASK):
                parts[topic] = (message.sequence, message.data)
            elif topic == topics.EVENTS:
                self.events.append(self._table(message.data))
        self.missing = max(0, highest - lowest + 1 - count) if lowest is not None else 0

    def _assemble(self, message: Any, parts: Mapping[str, tuple[int, bytes]]) -> Recorded:
        record = self._table(message.data)
        index = record.get("frame")
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            raise SourceError(f"{self.path}: a result without the index of its frame")
        images = {
            topic: self._image(data)
            for topic, (sequence, data) in parts.items()
            if sequence == message.sequence
        }
        image, kind = images.get(topics.IMAGE, (None, ""))
        return Recorded(
            index=index,
            record=record,
            image=image,
            lossless=kind == "png",
            mask_image=images.get(topics.MASK, (None, ""))[0],
        )

    def _image(self, data: bytes) -> tuple[bytes, str]:
        try:
            image = unpack("foxglove.CompressedImage", data)
        except ValueError as wrong:
            raise SourceError(f"{self.path}: an image message cannot be read ({wrong})") from None
        return image.get("data", b""), image.get("format", "")

    def _table(self, data: bytes) -> dict[str, Any]:
        try:
            table = json.loads(data)
        except (ValueError, RecursionError) as wrong:
            raise SourceError(f"{self.path}: not valid JSON: {str(wrong)[:80]}") from None
        if not isinstance(table, dict):
            raise SourceError(f"{self.path}: a record that is no table")
        return table

    def _read_head(self) -> None:
        """Read what stands before the first message."""
        kinds = library("records")
        for record in read_records(self.path, self._ending):
            if isinstance(record, kinds.Message):
                break
            if isinstance(record, kinds.Metadata) and record.name == topics.ABOUT:
                self.about = dict(record.metadata)
            elif isinstance(record, kinds.Attachment) and record.name == topics.CONFIG:
                self.config = _text(record.data, self.path)
            elif isinstance(record, kinds.Attachment) and record.name == topics.BUNDLES:
                self.stages = self._stages(self._table(record.data))

    def _stages(self, table: dict[str, Any]) -> dict[str, dict[str, str]]:
        stages = table.get("stages")
        if not isinstance(stages, dict) or not all(isinstance(s, dict) for s in stages.values()):
            raise SourceError(f"{self.path}: {topics.BUNDLES} does not list the stages")
        return {str(k): {str(a): str(b) for a, b in v.items()} for k, v in stages.items()}


def open_recording(path: Path) -> Recording:
    """Open a recording that rille made.

    Raises:
        SourceNotFoundError: no such file.
        ConfigError: the extra is not installed.
        SourceError: not an MCAP file, damaged, or made by something else.
    """
    recording = Recording(path)
    if not recording.about:
        raise SourceError(
            f"{path}: not a recording made by rille; its frames can be played with mcap://{path}"
        )
    return recording


def read_messages(path: Path, ending: Ending) -> Iterator[tuple[str, Any]]:
    """Read the messages of any MCAP file with their topics; see `read_records`."""
    for channel, _, message in read_described(path, ending):
        yield channel.topic, message


def read_described(path: Path, ending: Ending) -> Iterator[tuple[Any, Any, Any]]:
    """Read the messages of any MCAP file with their channels and schemas (None without one).

    Raises:
        SourceError: damaged, or a message without its channel; see `read_records`.
    """
    kinds = library("records")
    channels: dict[int, Any] = {}
    schemas: dict[int, Any] = {}
    for record in read_records(path, ending):
        if isinstance(record, kinds.Schema):
            schemas[record.id] = record
        elif isinstance(record, kinds.Channel):
            channels[record.id] = record
        elif isinstance(record, kinds.Message):
            channel = channels.get(record.channel_id)
            if channel is None:
                raise SourceError(f"{path}: a message of channel {record.channel_id}, unknown")
            yield channel, schemas.get(channel.schema_id), record


def _text(data: bytes, path: Path) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise SourceError(f"{path}: {topics.CONFIG} is not text") from None
