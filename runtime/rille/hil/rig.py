"""One run: start the device, show it frames, break what the schedule says, and listen."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rille.errors import ConfigError, SourceError
from rille.files import sink_error, write_whole
from rille.hil.answers import answers_of
from rille.hil.feed import FrameHost
from rille.hil.host_target import HostTarget
from rille.hil.judge import judge
from rille.hil.links import open_link
from rille.hil.observed import EXACT, Observed, Sent, Span
from rille.hil.page import verdict_page
from rille.hil.pictures import pictures_of
from rille.hil.pressure import CpuPressure
from rille.hil.process_target import ProcessTarget
from rille.hil.subprocess_target import SubprocessTarget
from rille.hil.target import Setup, Target
from rille.hil.telemetry import Telemetry
from rille.hil.upset import SkippedError, Upset
from rille.hil.upsets import upset_of
from rille.hil.verdict import Verdict, junit

if TYPE_CHECKING:
    from rille.hil.feed import Outgoing
    from rille.hil.link import Link
    from rille.hil.scenario import Fault, Scenario

TARGETS: Mapping[str, Callable[[Setup], Target]] = {
    "process": ProcessTarget,
    "subprocess": SubprocessTarget,
    "host": HostTarget,
}
_QUIET_S, _SETTLE_S = 0.3, 2.0
_TURN_S = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """Where and against what scenarios are run.

    Attributes:
        target: "process", "subprocess" or "host".
        board: host and port at which a board listens for frames; for "host" alone.
        telemetry: where the bench listens: host and port, 0 for a free one.
        folder: for what is written, a folder for each scenario.
        start_s: how long the device may take to its first answer.
        truth_within: by how much its probabilities may differ from the bench's own.
    """

    target: str
    board: tuple[str, int] | None = None
    telemetry: tuple[str, int] = ("127.0.0.1", 0)
    folder: Path
    start_s: float = 30.0
    truth_within: float = EXACT


def run_scenario(scenario: Scenario, bench: Bench) -> Verdict:
    """Run one scenario and write `verdict.json`, `junit.xml` and `verdict.html` beside its files.

    Raises:
        ConfigError: the scenario cannot run against this target; says why.
        SourceError: its pictures cannot be had, or a board does not answer.
        SinkError: the folder cannot be written to.
    """
    refusal = scenario.refusal(bench.target)
    if refusal:
        raise ConfigError(f"{scenario.name}: {refusal}")
    began = time.monotonic()
    folder = bench.folder / f"{scenario.name}-{bench.target}"
    with contextlib.suppress(FileNotFoundError):
        _clear(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as wrong:
        raise sink_error(folder, wrong) from None
    link = scenario.link_for(bench.target)
    verdict = Verdict(
        scenario=scenario.name,
        about=scenario.about,
        target=bench.target,
        link=link,
        folder=str(folder),
    )
    try:
        with contextlib.ExitStack() as stack:
            observed = _Run(scenario, bench, link, folder, stack).observe()
    except SkippedError as wrong:
        verdict = replace(verdict, skipped=str(wrong))
    else:
        checks, figures = judge(observed)
        verdict = replace(verdict, checks=checks, figures=figures)
        verdict = replace(verdict, took_s=round(time.monotonic() - began, 2))
        write_whole(folder / "verdict.html", verdict_page(verdict, observed))
    write_whole(folder / "verdict.json", json.dumps(verdict.to_json(), indent=1) + "\n")
    write_whole(folder / "junit.xml", junit([verdict]))
    return verdict


def _clear(folder: Path) -> None:
    """Remove what an earlier run of the same scenario left."""
    for path in sorted(folder.rglob("*"), reverse=True):
        with contextlib.suppress(OSError):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


class _Run:
    """The parts of one run, and its loop.

    Args:
        scenario, bench, link, folder: what is run, against what, over which link, and where.
        stack: closes everything.
    """

    def __init__(
        self,
        scenario: Scenario,
        bench: Bench,
        link: str,
        folder: Path,
        stack: contextlib.ExitStack,
    ) -> None:
        self._scenario, self._bench, self._kind, self._folder = scenario, bench, link, folder
        self._pictures = pictures_of(scenario.source)
        self._host = FrameHost(scenario, self._pictures)
        peer = None if bench.board is None else bench.board[0]
        self._telemetry = stack.enter_context(Telemetry(*bench.telemetry, peer))
        self._link: Link = stack.enter_context(
            open_link(link, self._pictures[0], scenario, bench.board)
        )
        setup = Setup(
            scenario=scenario,
            folder=folder,
            source=self._link.uri,
            sinks=[f"udp://127.0.0.1:{self._telemetry.port}"],
            bundles=list(scenario.bundles),
            out=folder / "out",
        )
        self._upsets: list[Upset] = []
        for fault in scenario.fault:
            upset = upset_of(fault)
            if upset is not None:
                self._upsets.append(stack.enter_context(upset))
                upset.prepare(setup)
        self._setup = setup
        self._target = stack.enter_context(TARGETS[bench.target](setup))
        self._sent: dict[int, Sent] = {}
        self._spans: dict[int, Span] = {}
        self._held: list[tuple[int, Outgoing]] = []
        self._began_ns = 0

    def observe(self) -> Observed:
        """Run it to its end and return what was seen."""
        pressure = CpuPressure()
        self._target.start()
        if self._await_answers():
            self._show()
        ended_ns = time.monotonic_ns()
        if not self._target.ended:
            self._telemetry.wait_quiet(_QUIET_S, _SETTLE_S)
        self._end_faults()
        end = self._target.stop()
        self._telemetry.wait_quiet(_QUIET_S, _SETTLE_S)
        out = self._setup.out
        return Observed(
            scenario=self._scenario,
            target=self._bench.target,
            link=self._kind,
            lossless=self._link.lossless,
            sent=self._sent,
            records=self._telemetry.records,
            spans=list(self._spans.values()),
            end=end,
            began_ns=self._began_ns or ended_ns,
            ended_ns=ended_ns,
            told=_lines(out / "events.jsonl"),
            supervisor=_table(out / "supervisor.json"),
            answers=answers_of(self._scenario) if self._link.lossless else (),
            truth_within=self._bench.truth_within,
            pressure=pressure.share(),
        )

    def _await_answers(self) -> bool:
        """Send frames until the device answers one; return whether it did before it ended.

        Raises:
            SourceError: it neither answers nor ends.
        """
        start, turn = time.monotonic(), 0
        while not any(record.published for record in self._telemetry.records):
            if self._target.ended:
                return False
            if time.monotonic() - start > self._bench.start_s:
                if self._scenario.expect.exit:
                    return False
                raise SourceError(
                    f"{self._scenario.name}: no answer within {self._bench.start_s:g} s; "
                    f"{self._hint()}"
                )
            self._turn(turn, -1.0)
            turn += 1
            time.sleep(1 / self._scenario.fps)
        return True

    def _hint(self) -> str:
        if self._bench.target != "host":
            return f"see {self._folder / 'device.log'}"
        return "does the board run, and does its telemetry come here?"

    def _show(self) -> None:
        """Show the scenario's frames at their pace, and break things when it is time."""
        first = self._host.number
        self._began_ns = time.monotonic_ns()
        period_s = 1 / self._scenario.fps
        for turn in range(self._scenario.frames):
            due_ns = self._began_ns + round(turn * period_s * 1e9)
            while (left_s := (due_ns - time.monotonic_ns()) / 1e9) > 0:
                self._look_after_faults()
                time.sleep(min(left_s, _TURN_S))
            if self._target.ended:
                return
            self._look_after_faults()
            self._turn(first + turn, self._at_s())

    def _at_s(self) -> float:
        return (time.monotonic_ns() - self._began_ns) / 1e9

    def _turn(self, turn: int, at_s: float) -> None:
        """Send what is to be sent at a turn."""
        faults = [f for f in self._scenario.fault if f.component == "link" and f.active(at_s)]
        self._link.look(faults, at_s)
        now = time.monotonic_ns()
        for due_ns, frame in [held for held in self._held if held[0] <= now]:
            self._held.remove((due_ns, frame))
            self._send(frame, faults)
        for frame in self._host.turn(turn, at_s):
            if frame.hold_s:
                self._held.append((now + round(frame.hold_s * 1e9), frame))
            else:
                self._send(frame, faults)

    def _send(self, frame: Outgoing, faults: list[Fault]) -> None:
        # Noted first: an answer may be here before the link returns.
        at_ns = time.monotonic_ns()
        note = Sent(frame.number, at_ns, frame.stamp_us, frame.picture, frame.effect)
        self._sent[frame.number] = note
        told = self._link.send(frame, faults)
        if told is not None and (told == "refused" or not frame.effect):
            self._sent[frame.number] = replace(note, effect=told)

    def _look_after_faults(self) -> None:
        """Begin, continue and end faults whose time has come."""
        at_s, now = self._at_s(), time.monotonic_ns()
        upsets = {id(upset.fault): upset for upset in self._upsets}
        for k, fault in enumerate(self._scenario.fault):
            if not fault.kind.timed:
                continue
            span, upset = self._spans.get(k), upsets.get(id(fault))
            if span is None and fault.active(at_s):
                self._spans[k] = Span(fault, now)
                if upset is not None:
                    upset.begin(self._target)
            elif span is not None and span.ended_ns is None:
                if at_s >= fault.end_s:
                    if upset is not None:
                        upset.end()
                    span.ended_ns = time.monotonic_ns()
                elif upset is not None:
                    upset.look((now - span.began_ns) / 1e9)

    def _end_faults(self) -> None:
        for upset in self._upsets:
            upset.end()


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a file of JSON; none where there is no file."""
    try:
        text = path.read_text()
    except OSError:
        return []
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def _table(path: Path) -> dict[str, Any] | None:
    try:
        table: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return table
