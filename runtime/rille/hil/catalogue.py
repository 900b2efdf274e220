"""Every scenario of a folder, against several targets, a few at once; and the score."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from rille.errors import ConfigError, RilleError
from rille.files import write_whole
from rille.hil.answers import answers_of
from rille.hil.rig import Bench, run_scenario
from rille.hil.scenario import Scenario
from rille.hil.verdict import Check, Verdict, junit


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalogue:
    """What came of a catalogue.

    Attributes:
        scenarios: how many scenarios it holds.
        verdicts: one for each scenario and target, in that order.
        refused: those that a target cannot run, with the reason.
        took_s: in all.
    """

    scenarios: int
    verdicts: tuple[Verdict, ...]
    refused: tuple[tuple[str, str, str], ...]
    took_s: float

    @property
    def passed(self) -> bool:
        """Whether every verdict is good, skipped ones aside."""
        return all(verdict.passed or verdict.skipped for verdict in self.verdicts)

    def survived(self) -> int:
        """Return how many scenarios passed against every target that can run them."""
        names = {v.scenario for v in self.verdicts}
        return sum(all(v.passed for v in self.verdicts if v.scenario == name) for name in names)

    def __str__(self) -> str:
        done = [v for v in self.verdicts if not v.skipped]
        good = sum(v.passed for v in done)
        skipped = len(self.verdicts) - len(done)
        return (
            f"{self.survived()} of {self.scenarios} scenarios survived; {good} of {len(done)} runs "
            f"passed, {skipped} skipped, {len(self.refused)} refused by name; "
            f"{self.took_s:.0f} s"
        )


def files_in(path: Path) -> list[Path]:
    """Return the scenario files of a folder, or the one file.

    Raises:
        ConfigError: there are none.
    """
    found = sorted(path.glob("*.toml")) if path.is_dir() else [path]
    if not found:
        raise ConfigError(f"{path}: holds no scenario, no file *.toml")
    return found


def run_catalogue(
    scenarios: Sequence[Scenario],
    benches: Sequence[Bench],
    jobs: int,
    say: Callable[[Verdict], None],
) -> Catalogue:
    """Run scenarios; those that want to be alone come last, one after the other.

    Args:
        scenarios: what to run; names must differ.
        benches: against what; their folders may be the same.
        jobs: how many at once.
        say: called with each verdict, from any thread.

    Raises:
        ConfigError: two scenarios have one name.
    """
    names = [scenario.name for scenario in scenarios]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{twice}: two scenarios are called so")
    began = time.monotonic()
    wanted, refused = [], []
    for scenario in scenarios:
        for bench in benches:
            why = scenario.refusal(bench.target)
            if why:
                refused.append((scenario.name, bench.target, why))
            else:
                wanted.append((scenario, bench))
    for scenario, _ in wanted:
        answers_of(scenario)  # once, before several threads ask for it

    def one(pair: tuple[Scenario, Bench]) -> Verdict:
        verdict = _guarded(*pair)
        say(verdict)
        return verdict

    together = [pair for pair in wanted if not pair[0].alone]
    with ThreadPoolExecutor(jobs) as pool:
        verdicts = list(pool.map(one, together))
    verdicts += [one(pair) for pair in wanted if pair[0].alone]
    made = Catalogue(
        scenarios=len(scenarios),
        verdicts=tuple(verdicts),
        refused=tuple(refused),
        took_s=time.monotonic() - began,
    )
    for bench in benches:
        own = [verdict for verdict in verdicts if verdict.target == bench.target]
        write_whole(bench.folder / f"junit-{bench.target}.xml", junit(own))
    return made


def _guarded(scenario: Scenario, bench: Bench) -> Verdict:
    """Run one; what the bench itself cannot do fails it, and not the others."""
    began = time.monotonic()
    try:
        return run_scenario(scenario, bench)
    except RilleError as wrong:
        verdict = Verdict(
            scenario=scenario.name,
            about=scenario.about,
            target=bench.target,
            link=scenario.link_for(bench.target),
            checks=(Check("bench", False, str(wrong)),),
        )
        return replace(verdict, took_s=round(time.monotonic() - began, 2))
