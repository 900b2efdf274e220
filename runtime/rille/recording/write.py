"""Writing a recording, so that whatever ends it leaves all but the last second readable."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rille.files import sink_error
from rille.recording import topics
from rille.recording.foxglove import descriptor_set
from rille.recording.library import library
from rille.recording.messages import (
    annotations_message,
    encode_image,
    image_message,
    log_message,
    result_record,
    worked_on,
)

if TYPE_CHECKING:
    from rille.events import Event
    from rille.recording.facts import RunFacts
    from rille.result import Result

FLUSH_BYTES = 512 * 1024
"""A chunk ends after so many bytes of messages."""
FLUSH_NS = 1_000_000_000
"""A chunk ends with the first frame captured so long after its first."""


class RecordingWriter:
    """Writes one MCAP file.

    Messages are stamped with nanoseconds since 1970: the monotonic clock plus an offset that is
    read once, when the file is opened. A wall clock that jumps in mid-run shifts nothing; the
    exact monotonic times stand in the records.

    Args:
        path: the file; an earlier one is replaced.
        jpeg: quality of the frames, 1 to 100; None for PNG, from which a run replays exactly.
        pixels: whether frames are recorded at all.

    Raises:
        ConfigError: the extra is not installed.
        SinkError: the file cannot be written.
    """

    def __init__(self, path: Path, *, jpeg: int | None = None, pixels: bool = True) -> None:
        self._path, self._jpeg, self._pixels = path, jpeg, pixels
        self._file: _WholeWrites | None = None
        self._flushed_ns = 0
        writer = library("writer")
        # The wall clock is read here alone, as data: it names the day, and times nothing.
        wall_ns = round(datetime.now(timezone.utc).timestamp() * 1e9)
        self._offset_ns = wall_ns - time.monotonic_ns()
        self._bytes = 0
        try:
            self._file = _WholeWrites(path)
            self._writer = writer.Writer(self._file, chunk_size=1 << 30, enable_data_crcs=True)
            self._writer.start(library="rille")
            self._about()
            self._open_channels()
        except OSError as wrong:
            self._give_up()
            raise sink_error(path, wrong) from None

    def _about(self) -> None:
        facts = {
            "machine": platform.machine(),
            "system": platform.platform(terse=True),
            "python": platform.python_version(),
            "clock_offset_ns": str(self._offset_ns),
            "pixels": "none" if not self._pixels else "png" if self._jpeg is None else "jpeg",
        }
        self._writer.add_metadata(topics.ABOUT, facts)

    def _open_channels(self) -> None:
        """Describe every topic; the descriptions go into the first chunk."""
        images = self._foxglove("CompressedImage")
        own = {
            topics.RESULT: topics.RESULT_SCHEMA,
            topics.EVENTS: topics.EVENT_SCHEMA,
        }
        self._channels = {
            topics.IMAGE: self._channel(topics.IMAGE, "protobuf", images),
            topics.MASK: self._channel(topics.MASK, "protobuf", images),
        }
        for topic, name in ((topics.ANNOTATIONS, "ImageAnnotations"), (topics.LOG, "Log")):
            self._channels[topic] = self._channel(topic, "protobuf", self._foxglove(name))
        for topic, schema in own.items():
            number = self._writer.register_schema(
                schema["title"], "jsonschema", topics.schema_bytes(schema)
            )
            self._channels[topic] = self._channel(topic, "json", number)

    def _foxglove(self, name: str) -> int:
        full = f"foxglove.{name}"
        number: int = self._writer.register_schema(full, "protobuf", descriptor_set(full))
        return number

    def _channel(self, topic: str, encoding: str, schema: int) -> int:
        number: int = self._writer.register_channel(topic, encoding, schema)
        return number

    def about(self, facts: RunFacts) -> None:
        """Keep what is known of the run; call it before the first frame, so that a cut spares it.

        Raises:
            SinkError: it cannot be written.
        """
        bundles = json.dumps(
            {
                "source": facts.source,
                "versions": facts.versions,
                "stages": {k: dict(v) for k, v in facts.bundles.items()},
            }
        )
        with self._whole():
            for name, kind, text in (
                (topics.CONFIG, "application/toml", facts.config),
                (topics.BUNDLES, "application/json", bundles),
            ):
                self._writer.add_attachment(0, 0, name, kind, text.encode())

    def write(self, result: Result) -> None:
        """Keep one result, and the frame if it was worked on.

        The record comes last: a frame of which the record can be read is complete.

        Raises:
            SinkError: it cannot be written; what was written before stays readable.
        """
        if self._file is None:
            return
        at_ns = result.captured_ns + self._offset_ns
        times = (result.index & 0xFFFFFFFF, at_ns, result.published_ns + self._offset_ns)
        record = result_record(result)
        with self._whole():
            if self._pixels and result.frame is not None and worked_on(result):
                data = encode_image(result.frame.pixels, self._jpeg)
                kind = "png" if self._jpeg is None else "jpeg"
                self._put(topics.IMAGE, image_message(data, at_ns, kind), *times)
            if result.segmentation is not None:
                data = encode_image(result.segmentation.mask)
                self._put(topics.MASK, image_message(data, at_ns, "png"), *times)
            if result.published:
                self._put(topics.ANNOTATIONS, annotations_message(result, at_ns), *times)
            self._put(topics.RESULT, _json(record), *times)
            self._flush_if_due(result.captured_ns)

    def event(self, event: Event) -> None:
        """Keep one event.

        Raises:
            SinkError: it cannot be written; what was written before stays readable.
        """
        if self._file is None:
            return
        at_ns = event.at_ns + self._offset_ns
        times = (event.serial & 0xFFFFFFFF, at_ns, at_ns)
        with self._whole():
            self._put(topics.LOG, log_message(event, at_ns), *times)
            self._put(topics.EVENTS, _json(event.to_json()), *times)
            self._flush_if_due(event.at_ns)

    def close(self) -> None:
        """Write the index, bring the file to the disk and close it; safe to call twice.

        Raises:
            SinkError: the disk refuses.
        """
        if self._file is None:
            return
        with self._whole():
            self._writer.finish()
            self._file.sync()
        self._give_up()

    def _put(self, topic: str, data: bytes, sequence: int, log_ns: int, publish_ns: int) -> None:
        self._writer.add_message(
            self._channels[topic], max(log_ns, 0), data, max(publish_ns, 0), sequence
        )
        self._bytes += len(data)

    def _flush_if_due(self, now_ns: int) -> None:
        self._flushed_ns = self._flushed_ns or now_ns
        if self._bytes < FLUSH_BYTES and now_ns - self._flushed_ns < FLUSH_NS:
            return
        self._writer.flush()
        self._bytes, self._flushed_ns = 0, now_ns

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """Take a refusal of the disk as the end of the file; all it holds is whole records."""
        try:
            yield
        except OSError as wrong:
            self._give_up()
            raise sink_error(self._path, wrong) from None

    def _give_up(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None


class _WholeWrites:
    """A file in which each write is done completely or taken back."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o644)
        self._whole = 0

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._whole)
            raise
        self._whole += len(data)
        return len(data)

    def tell(self) -> int:
        return self._whole

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def sync(self) -> None:
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


def _json(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
