"""One start of a supervised run: a process with heartbeats, in a process group of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rille.health.beats import VARIABLE, FrameAccount, Heartbeats
from rille.health.notify import VARIABLES
from rille.health.settings import HealthConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Silence:
    """A heartbeat that stays away.

    Attributes:
        name: which.
        for_ms: time since its last sign.
        fatal: whether that is beyond the fatal limit, not the warning one alone.
    """

    name: str
    for_ms: float
    fatal: bool

    def __str__(self) -> str:
        return f"{self.name} silent for {self.for_ms / 1000:.2f} s"


class Child:
    """A running `rille run` or `rille record`.

    Use it as a context manager, which leaves nothing of it behind.

    Its standard input is a pipe that never carries anything: it ends when this process does, and
    the run then ends itself.

    Args:
        words: the words after "rille".
        environment: of this process; what systemd put there is not handed on.
        config: how long heartbeats may stay away.
    """

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], config: HealthConfig
    ) -> None:
        self._config = config
        self._beats = Heartbeats.create()
        self._beats.beat("start")
        kept = {name: text for name, text in environment.items() if name not in VARIABLES}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rille", *words],
            stdin=subprocess.PIPE,
            env={**kept, VARIABLE: str(self._beats.file)},
            pass_fds=(self._beats.file,),
            start_new_session=True,  # Ctrl-C is for the supervisor; and all of it can be killed
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its networks are loaded and it awaits frames."""
        return self._beats.running

    def account(self) -> FrameAccount:
        """Return where its frames went so far."""
        return self._beats.account()

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal, or None while it lives."""
        return self._process.poll()

    def send(self, number: int) -> None:
        """Send a signal to the run itself, not to the processes it started."""
        self._process.send_signal(number)

    def kill(self) -> int:
        """Kill it and all it started; return its exit code."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self._process.wait()

    def silences(self) -> list[Silence]:
        """Return the heartbeats that stay away for longer than they may, the longest first."""
        now = time.monotonic_ns()
        found = []
        for sign in self._beats.due():
            limits, for_ms = self._config.limits_of(sign.name), (now - sign.at_ns) / 1e6
            if for_ms > limits.warn_ms:
                fatal = for_ms > limits.fatal_ms
                found.append(Silence(name=sign.name, for_ms=for_ms, fatal=fatal))
        return sorted(found, key=lambda silence: (not silence.fatal, -silence.for_ms))

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *raised: object) -> None:
        if self.poll() is None:
            self.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._beats.close()


def in_words(code: int) -> str:
    """Return an exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
