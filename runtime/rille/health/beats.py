"""Heartbeats and the account of a run, in memory that outlives it.

The memory is shared with the parent process (an anonymous file that the run inherits), so that
what a run had captured and finished is known to the frame, whatever it died of.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
import time
from collections.abc import Iterator, MutableMapping
from dataclasses import asdict, dataclass

from rille.errors import ConfigError

VARIABLE = "RILLE_HEARTBEATS"
"""The environment variable that names the memory's file descriptor to a supervised run."""

MOST_CAMERAS = 16
"""In one run: each has a heartbeat until its first frame, and one after it."""
_MAGIC = 0x72696C6C65_02
_STATES = ("ok", "late", "dropped", "failed")
_CAPTURED, _FIRST_STATE, _RUNNING = 1, 2, 6
_HEADER, _BEAT, _BEATS = 8, 4, 3 + 2 * MOST_CAMERAS
"""In 64-bit words; a beat: a name of 16 bytes, the time of its last sign, whether one is due."""
_BYTES = 8 * (_HEADER + _BEAT * _BEATS)
_NAME_BYTES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameAccount:
    """Where the captured frames of a run went; the states are those of `rille.result.State`."""

    captured: int = 0
    ok: int = 0
    late: int = 0
    dropped: int = 0
    failed: int = 0

    @property
    def lost(self) -> int:
        """Frames that were captured and never came to an end: lost in a crash."""
        return max(0, self.captured - self.ok - self.late - self.dropped - self.failed)

    def __add__(self, other: FrameAccount) -> FrameAccount:
        mine, others = asdict(self), asdict(other)
        return FrameAccount(**{key: mine[key] + others[key] for key in mine})

    def to_json(self) -> dict[str, int]:
        """Return all of it; captured = ok + late + dropped + failed + lost."""
        return {**asdict(self), "lost": self.lost}


@dataclass(frozen=True, slots=True)
class Sign:
    """A heartbeat that is due.

    Attributes:
        name: which.
        at_ns: its last sign, on the monotonic clock, which all processes share.
    """

    name: str
    at_ns: int


class Heartbeats:
    """The signs of life of one run; written by it, read by its parent.

    A heartbeat is due from `beat` to `rest`: who waits for nothing need not give signs. It never
    blocks and costs some microseconds. Made by `create` or `inherited`.

    Attributes:
        file: descriptor of the memory.
        supervised: whether this is the memory of a supervisor, seen from the run.
    """

    def __init__(self, file: int) -> None:
        self.file = file
        self.supervised = False
        self._memory = mmap.mmap(file, _BYTES)
        self._words = memoryview(self._memory).cast("q")
        self._places: dict[str, int] = {}
        self._counts: dict[int, int] = {}
        self._lock = threading.Lock()
        self._published = 0

    @classmethod
    def create(cls) -> Heartbeats:
        """Make new memory; `file` is to be inherited by the run."""
        file = os.memfd_create("rille-heartbeats")
        os.ftruncate(file, _BYTES)
        made = cls(file)
        made._words[0] = _MAGIC
        return made

    @classmethod
    def inherited(cls, environment: MutableMapping[str, str]) -> Heartbeats | None:
        """Return the memory of the process that supervises this one, or None without one.

        The variable is taken away: processes that this one starts do not inherit the memory.

        Raises:
            ConfigError: the variable is set and names no such memory.
        """
        text = environment.pop(VARIABLE, None)
        if text is None:
            return None
        try:
            found = cls(int(text))
        except (ValueError, OSError, OverflowError):
            found = None
        if found is None or found._words[0] != _MAGIC:
            raise ConfigError(f"{VARIABLE}={text[:20]}: is no supervisor's memory; unset it")
        found.supervised = True
        return found

    def close(self) -> None:
        """Let go of the memory; safe to call twice."""
        if not self._memory.closed:
            self._words.release()
            self._memory.close()
            os.close(self.file)

    def beat(self, name: str) -> None:
        """Give a sign, and promise another.

        Args:
            name: at most 16 bytes; three names, and two for each of `MOST_CAMERAS`.
        """
        self._sign(name, due=1)

    def rest(self, name: str) -> None:
        """Give a sign, and promise none until the next `beat`."""
        self._sign(name, due=0)

    @contextlib.contextmanager
    def busy(self, name: str) -> Iterator[None]:
        """Promise a sign for as long as the block takes."""
        self.beat(name)
        try:
            yield
        finally:
            self.rest(name)

    def run(self) -> None:
        """Say that the networks are loaded and frames are awaited."""
        self.rest("start")
        self._words[_RUNNING] = 1

    def finish(self) -> None:
        """Say that the stream is over and the outputs are being completed."""
        for name in self._places:
            self.rest(name)
        self.beat("finish")

    @property
    def running(self) -> bool:
        """Whether `run` was called."""
        return bool(self._words[_RUNNING])

    def captured(self, count: int, camera: int = 0) -> None:
        """Say how many frames were captured so far; work is due while some are not published.

        Args:
            count: frames of one camera.
            camera: its number.
        """
        with self._lock:
            idle = self._published >= self._words[_CAPTURED]
            self._counts[camera] = count
            total = self._words[_CAPTURED] = sum(self._counts.values())
            if idle and total > self._published:
                self.beat("work")

    def published(self) -> None:
        """Say that the work on a frame has come to its end, whatever that is."""
        with self._lock:
            self._published += 1
            self._sign("work", due=self._words[_CAPTURED] > self._published)

    def ended(self, state: str) -> None:
        """Count a frame that ended in a state and whose result was written."""
        with self._lock:
            self._words[_FIRST_STATE + _STATES.index(state)] += 1

    def account(self) -> FrameAccount:
        """Return the account at this moment."""
        ends = self._words[_FIRST_STATE : _FIRST_STATE + len(_STATES)].tolist()
        return FrameAccount(
            captured=self._words[_CAPTURED], **dict(zip(_STATES, ends, strict=True))
        )

    def due(self) -> list[Sign]:
        """Return the heartbeats that have promised a sign."""
        signs = []
        for place in range(_HEADER, _HEADER + _BEAT * _BEATS, _BEAT):
            name = bytes(self._words[place : place + 2]).rstrip(b"\0").decode(errors="replace")
            if name and self._words[place + 3]:
                signs.append(Sign(name, self._words[place + 2]))
        return signs

    def _sign(self, name: str, due: int) -> None:
        place = self._places.get(name) or self._place(name)
        self._words[place + 2] = time.monotonic_ns()
        self._words[place + 3] = due

    def _place(self, name: str) -> int:
        """Return where a heartbeat stands, taking the next free place for a new one."""
        text = name.encode()
        if not 0 < len(text) <= _NAME_BYTES:
            raise ValueError(f"a heartbeat's name has 1 to {_NAME_BYTES} bytes, not {name!r}")
        name_words = memoryview(text.ljust(_NAME_BYTES, b"\0")).cast("q")
        for place in range(_HEADER, _HEADER + _BEAT * _BEATS, _BEAT):
            here = self._words[place : place + 2]
            if not any(here) or here == name_words:
                here[:] = name_words
                self._places[name] = place
                return place
        raise ValueError(f"more than {_BEATS} heartbeats")
