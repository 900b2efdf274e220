"""Counters, gauges and histograms in the text format of Prometheus, version 0.0.4."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping

Labels = Mapping[str, str]


class Histogram:
    """Counts durations in buckets, so that a server can compute percentiles over any time.

    Args:
        bounds_s: upper bounds of the buckets in seconds, ascending.
    """

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self._bounds = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self._sum_s = 0.0

    def add(self, duration_s: float) -> None:
        """Count one duration."""
        self._counts[bisect.bisect_left(self._bounds, duration_s)] += 1
        self._sum_s += duration_s

    def lines(self, name: str, labels: Labels) -> list[str]:
        """Return its samples: cumulative buckets, sum and count."""
        lines, total = [], 0
        for bound, count in zip((*self._bounds, None), self._counts, strict=True):
            total += count
            edge = "+Inf" if bound is None else f"{bound:g}"
            lines.append(sample(f"{name}_bucket", {**labels, "le": edge}, total))
        lines.append(sample(f"{name}_sum", labels, self._sum_s))
        lines.append(sample(f"{name}_count", labels, total))
        return lines


def sample(name: str, labels: Labels, value: float) -> str:
    """Return one line: a name, its labels, a number."""
    pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{pairs}}} {value!r}" if pairs else f"{name} {value!r}"


def family(name: str, kind: str, about: str, lines: Iterable[str]) -> list[str]:
    """Return the head of a metric and its samples.

    Args:
        name: of the metric.
        kind: "counter", "gauge" or "histogram".
        about: one line for people.
        lines: its samples.
    """
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}", *lines]


def counts(name: str, about: str, label: str, numbers: Mapping[str, int]) -> list[str]:
    """Return a counter with one sample for each value of a label."""
    lines = (sample(name, {label: key}, number) for key, number in numbers.items())
    return family(name, "counter", about, lines)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
