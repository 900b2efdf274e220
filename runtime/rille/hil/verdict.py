"""What the judge says of a run: checks with words, figures, and both for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from xml.etree import ElementTree


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that had to hold.

    Attributes:
        name: what was looked at.
        passed: whether it held.
        words: what was found.
    """

    name: str
    passed: bool
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The outcome of one scenario against one target.

    Attributes:
        scenario, about, target, link: what was run.
        checks: all of them; none where it was not run.
        figures: what was measured; times in seconds or milliseconds, as their names say.
        skipped: why it was not run; empty where it was.
        took_s: how long it took.
        folder: where its files are.
    """

    scenario: str
    about: str = ""
    target: str
    link: str
    checks: tuple[Check, ...] = ()
    figures: Mapping[str, float | int | None] = field(default_factory=dict)
    skipped: str = ""
    took_s: float = 0.0
    folder: str = ""

    @property
    def passed(self) -> bool:
        """Whether it was run and every check held."""
        return not self.skipped and all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that did not hold."""
        return tuple(check for check in self.checks if not check.passed)

    def to_json(self) -> dict[str, Any]:
        """Return everything, for a file."""
        return {**asdict(self), "passed": self.passed}

    def __str__(self) -> str:
        outcome = "SKIPPED" if self.skipped else "passed" if self.passed else "FAILED"
        lines = [f"{outcome:7s} {self.scenario} ({self.target}, {self.link}, {self.took_s:.1f} s)"]
        if self.skipped:
            lines[0] += f": {self.skipped}"
        lines += [f"        {check.name}: {check.words}" for check in self.failures]
        return "\n".join(lines)


def junit(verdicts: Sequence[Verdict]) -> str:
    """Return verdicts in JUnit's XML, a test case each."""
    suite = ElementTree.Element(
        "testsuite",
        name="rille hil",
        tests=str(len(verdicts)),
        failures=str(sum(not v.passed and not v.skipped for v in verdicts)),
        skipped=str(sum(bool(v.skipped) for v in verdicts)),
        time=f"{sum(v.took_s for v in verdicts):.3f}",
    )
    for verdict in verdicts:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"hil.{verdict.target}.{verdict.link}",
            name=verdict.scenario,
            time=f"{verdict.took_s:.3f}",
        )
        if verdict.skipped:
            ElementTree.SubElement(case, "skipped", message=_plain(verdict.skipped))
        for check in verdict.failures:
            failure = ElementTree.SubElement(case, "failure", message=_plain(check.name))
            failure.text = _plain(check.words)
    ElementTree.indent(suite)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, "unicode") + "\n"
    )


def _plain(text: str) -> str:
    """Return a text without what XML cannot hold."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
