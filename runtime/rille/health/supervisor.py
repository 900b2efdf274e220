"""The parent of a supervised run: starts it, watches it, starts it again.

    starting -> running -> ended                      exit codes 0, 2, 4, 130: nothing to mend by
                   |  ^                               starting the same thing again
       died, hung  v  | pause
               restarting -> safe mode                too many restarts: stopped, exit code 5

Safe mode is to stop: what dies six times a minute has nothing left that could be trusted to go on
capturing, and an exit code is what the next level (systemd, the rover's own fault protection) acts
on. Everything captured until then is in the parts.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rille.errors import SafeModeError
from rille.events import EventLog
from rille.health.beats import FrameAccount
from rille.health.child import Child, in_words
from rille.health.ledger import Ending, Ledger
from rille.health.notify import Notifier
from rille.health.probation import Probation, says_nothing
from rille.health.restarts import RestartCap
from rille.health.settings import HealthConfig
from rille.health.signals import Signals

_FINAL = (0, 2, 4, 130)
_BUNDLE = 4
_TICK_S = 0.05
_STATUS_S = 1.0


class Supervisor:
    """Keeps a run alive; `run` returns when it is over. One in a process, in its main thread.

    Args:
        words: gives the words after "rille" for a part's folder and the account so far; None
            where nothing is left to do.
        folder: of the run; see `rille.health.ledger`.
        config: limits.
        environment: of this process.
        say: takes a line for people.
        bundles: what the run flies from, where it is a path.

    Raises:
        SinkError: the folder cannot be written to.
    """

    def __init__(
        self,
        words: Callable[[Path, FrameAccount], Sequence[str] | None],
        folder: Path,
        config: HealthConfig,
        environment: Mapping[str, str],
        say: Callable[[str], None],
        bundles: Sequence[Path] = (),
    ) -> None:
        self._words, self._config, self._environment = words, config, environment
        self._ledger = Ledger(folder, say)
        self._events = EventLog()
        self._events.listen(self._ledger.event)
        self._notifier = Notifier(environment, self._events)
        self._cap = RestartCap(config.restarts, config.within_s)
        self._probation = Probation(bundles, config.probation_tries, self._tell, say)
        self._signals = Signals()
        self._ready = False
        self._fed_s = self._told_s = 0.0

    def run(self) -> int:
        """Run until the run is over, SIGTERM or SIGINT; SIGHUP is handed on.

        Returns:
            The exit code of the run; 0 after SIGTERM, 130 after SIGINT.

        Raises:
            SafeModeError: it died too often.
            SinkError: no folder can be made for a part.
        """
        with self._signals:
            try:
                code = self._keep_alive()
            finally:
                self._notifier.stopping()
        self._ledger.state("ended", None)
        return code

    def _keep_alive(self) -> int:
        while self._signals.stop is None:
            words = self._words(self._ledger.begin_part(), self._ledger.account)
            if words is None:
                return 0
            self._probation.begin()
            ending, account = self._fly(words)
            self._ledger.end_part(ending, account)
            if self._signals.stop is not None or says_nothing(ending.code, account):
                self._probation.spare()
            if self._signals.stop is None:
                if ending.code in _FINAL and not self._goes_back(ending):
                    return ending.code
                self._pause(ending, account)
        return 130 if self._signals.stop == signal.SIGINT else 0

    def _fly(self, words: Sequence[str]) -> tuple[Ending, FrameAccount]:
        """Start the run once and watch it to its end."""
        with Child(words, self._environment, self._config) as child:
            shown, late = "", frozenset[str]()
            while (code := child.poll()) is None:
                state = self._state(child)
                if state != shown:
                    self._ledger.state(state, child.pid)
                    shown = state
                    if state == "stopping":
                        self._notifier.stopping()
                        child.send(signal.SIGTERM)
                why, late = self._judge(child, late)
                if why is not None:
                    return Ending(code=child.kill(), text=f"killed: {why}"), child.account()
                self._signals.wait(_TICK_S)
            return Ending(code=code, text=in_words(code)), child.account()

    def _state(self, child: Child) -> str:
        if self._signals.stop is not None:
            return "stopping"
        return "running" if child.running else "starting"

    def _judge(self, child: Child, late: frozenset[str]) -> tuple[str | None, frozenset[str]]:
        """Return why the run must be killed, if so, and which heartbeats are late now.

        Args:
            child: the run.
            late: the heartbeats that were late when last asked.
        """
        if self._signals.stop is not None:
            return self._overdue(child), late
        if self._signals.hangup and child.running:
            self._signals.hangup = False
            child.send(signal.SIGHUP)
        silences = child.silences()
        for silence in silences:
            if silence.name not in late:
                self._events.emit("HEARTBEAT_LATE", str(silence), ms=round(silence.for_ms))
        self._tell_systemd(child, healthy=not silences)
        why = str(silences[0]) if silences and silences[0].fatal else None
        return why, frozenset(silence.name for silence in silences)

    def _overdue(self, child: Child) -> str | None:
        """Return why a run that was asked to end must be killed, if so."""
        waited_ms = (time.monotonic_ns() - self._signals.stopped_ns) / 1e6
        if waited_ms <= self._config.stop_ms and not self._signals.urgent:
            return None
        why = f"had not ended {waited_ms:.0f} ms after being asked to"
        self._events.emit("CHILD_KILLED", f"the run {why}", pid=child.pid)
        return why

    def _tell_systemd(self, child: Child, healthy: bool) -> None:
        """Say that it serves, feed the watchdog while all is well, and say what goes on."""
        if child.running and not self._ready:
            self._ready = self._notifier.ready()
        now = time.monotonic()
        every_s = self._notifier.watchdog_s
        if healthy and every_s is not None and now - self._fed_s >= every_s - _TICK_S:
            self._fed_s = now
            self._notifier.feed_watchdog()
        if now - self._told_s >= _STATUS_S:
            self._told_s = now
            account = self._ledger.account + child.account()
            self._notifier.status(
                f"{'running' if child.running else 'starting'}, part {self._ledger.part}: "
                f"{account.captured} frames captured, {account.ok} in time"
            )

    def _tell(self, name: str, text: str, values: dict[str, Any]) -> None:
        """Take an event about a bundle on probation."""
        if name == "BUNDLE_ROLLED_BACK":
            self._ledger.rolled_back.append(values)
        self._events.emit(name, text, **values)

    def _goes_back(self, ending: Ending) -> bool:
        """Return whether a bundle that could not be used was rolled back."""
        return ending.code == _BUNDLE and self._probation.roll_back(self._what(ending))

    def _what(self, ending: Ending) -> str:
        return f"part {self._ledger.part} of the run ended ({ending.text})"

    def _pause(self, ending: Ending, account: FrameAccount) -> None:
        """Wait before the next start.

        Raises:
            SafeModeError: there were too many.
        """
        values = {"part": self._ledger.part, "code": ending.code, "frames_lost": account.lost}
        what = self._what(ending)
        pause_s = self._cap.pause_s()
        blamed = not says_nothing(ending.code, account)
        if blamed and self._probation.roll_back(what, used_up=pause_s is not None):
            # Something else flies from now on: it has all its restarts before it.
            self._cap = RestartCap(self._config.restarts, self._config.within_s)
            pause_s = 0.0
        if pause_s is None:
            why = (
                f"{what}, after {self._config.restarts} restarts in {self._config.within_s:g} s; "
                "not started again: safe mode"
            )
            self._events.emit("SAFE_MODE", why, **values)
            self._notifier.status(why)
            self._ledger.state("safe mode", None)
            raise SafeModeError(f"{why}; mend the cause that supervisor.json and events.jsonl tell")
        self._events.emit(
            "CHILD_RESTARTED",
            f"{what}, {account.lost} frame(s) lost; started again after {pause_s:g} s",
            **values,
        )
        self._ledger.state("restarting", None)
        until = time.monotonic() + pause_s
        while self._signals.stop is None and (left_s := until - time.monotonic()) > 0:
            self._signals.wait(left_s)
