"""The other side of `benchmarks.peers.worker`: a peer's process, and what it answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from benchmarks.peers.known import Entry
from benchmarks.peers.peer import PeerRefusedError
from rille.closing import Closing

ROOT = Path(__file__).resolve().parents[2]
_LIMIT_S = 180.0
_END_S = 10.0


class PeerMissingError(PeerRefusedError):
    """A peer is not installed, or has no network to run; the message says what to do."""


class Remote(Closing):
    """A peer in its process.

    Args:
        entry: which.
        frames: the .npy file with the frames.
        python: the interpreter of the environment it lives in.
        log: where its stderr goes.
    """

    def __init__(self, entry: Entry, frames: Path, python: Path, log: Path) -> None:
        self.entry = entry
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [str(python), "-m", "benchmarks.peers.worker", entry.shown, str(frames)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'runtime'}"},
            )

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send one request and return its answer.

        Raises:
            PeerMissingError: it is not installed, or has no network to run.
            PeerRefusedError: it cannot do that, died, or gave no answer in time.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        timer = threading.Timer(_LIMIT_S, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            last = self._log.read_text(errors="replace").strip().splitlines()[-1:] or ["no words"]
            raise PeerRefusedError(
                f"its process ended or hung while asked to {do}: {last[0][:300]}"
            )
        reply: dict[str, Any] = json.loads(line)
        if "missing" in reply:
            raise PeerMissingError(reply["missing"])
        if "refused" in reply:
            raise PeerRefusedError(reply["refused"])
        return reply

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def interpreter_for(entry: Entry, other: Path) -> Path:
    """Return the interpreter that a peer runs in: this one, unless it lacks what it needs.

    Args:
        entry: the peer.
        other: the interpreter of the environment that `make peers` makes; it need not exist.
    """
    from importlib.util import find_spec

    here = all(find_spec(module) is not None for module in entry.resolve().needs)
    return other if entry.elsewhere and not here and other.is_file() else Path(sys.executable)
