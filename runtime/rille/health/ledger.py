"""What a supervisor leaves for its readers on the ground.

In the folder of a supervised run:
    supervisor.json         who runs, in which state, the account over all parts, and which
                            bundles were rolled back
    events.jsonl            restarts, late heartbeats, safe mode; appended to
    part-000/, part-001/    the outputs of each start of the run, each complete in itself,
                            with account.json: where its frames went, those lost in a crash too
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rille.errors import SinkError
from rille.events import Event
from rille.files import sink_error, write_whole
from rille.health.beats import FrameAccount

_LISTED = 100
_PART = re.compile(r"part-(\d{3,9})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How one start of a run ended.

    Attributes:
        code: its exit code; negative for the signal that killed it.
        text: the same in words, with the reason where it was killed on purpose.
    """

    code: int
    text: str


class Ledger:
    """Keeps the files of a supervised run; a full disk costs the record, not the run.

    Args:
        folder: of the run; parts of earlier runs in it are left alone.
        say: takes a line for people.

    Attributes:
        part: number of the part that is being written.
        account: where the frames of all ended parts went.
        rolled_back: bundles that did not prove themselves, as the values of their events.

    Raises:
        SinkError: the folder cannot be written to at the start.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as wrong:
            raise sink_error(folder, wrong) from None
        numbers = [int(m[1]) for p in folder.iterdir() if (m := _PART.fullmatch(p.name))]
        self.part = max(numbers, default=-1)
        self.account = FrameAccount()
        self.rolled_back: list[dict[str, Any]] = []
        self._parts: list[dict[str, Any]] = []
        self._started_ns = 0
        self._starts = 0
        self.state("starting", None)

    def begin_part(self) -> Path:
        """Return the folder for the next start.

        Raises:
            SinkError: it cannot be made.
        """
        self.part += 1
        self._starts += 1
        self._started_ns = time.monotonic_ns()
        folder = self._path()
        try:
            folder.mkdir()
        except OSError as wrong:
            raise sink_error(folder, wrong) from None
        return folder

    def end_part(self, ending: Ending, account: FrameAccount) -> None:
        """Write the account of the part that ended."""
        self.account += account
        row = {
            "part": self.part,
            "ended": ending.text,
            "code": ending.code,
            "seconds": round((time.monotonic_ns() - self._started_ns) / 1e9, 3),
            **account.to_json(),
        }
        self._parts = [*self._parts, row][-_LISTED:]
        self._keep(self._path() / "account.json", row)

    def state(self, state: str, child: int | None) -> None:
        """Write who runs and how it stands.

        Args:
            state: "starting", "running", "restarting", "stopping", "ended" or "safe mode".
            child: process id of the run, if there is one.
        """
        table = {
            "schema": 1,
            "state": state,
            "supervisor_pid": os.getpid(),
            "child_pid": child,
            "part": self.part,
            "restarts": max(0, self._starts - 1),
            "account": self.account.to_json(),
            "rolled_back": self.rolled_back,
            "parts": self._parts,
        }
        self._keep(self._folder / "supervisor.json", table)

    def event(self, event: Event) -> None:
        """Append an event to the file, and say it to people."""
        self._say(f"{event.severity.value} {event.id}: {event.text}")
        line = json.dumps(event.to_json()).encode() + b"\n"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            file = os.open(self._folder / "events.jsonl", flags, 0o644)
            try:
                os.write(file, line)
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as wrong:
            self._say(str(sink_error(self._folder / "events.jsonl", wrong)))

    def _path(self) -> Path:
        return self._folder / f"part-{self.part:03d}"

    def _keep(self, path: Path, table: dict[str, Any]) -> None:
        try:
            write_whole(path, json.dumps(table, indent=1) + "\n")
        except SinkError as wrong:
            self._say(str(wrong))
