"""Is a part slower than it was, beyond the noise? Two runs' ratios, compared by rank."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIMITS = {"cpu": 0.05, "wall": 0.20}
"""Clock -> how much slower a part may become. By the wall clock other programs count as well."""
LEAST_BLOCKS = 8
_Z = 2.576  # two-sided 99 %; what looks slower is measured once more besides
_MAX_FILE = 32 << 20
_MAX_BLOCKS = 100_000
_MUST_AGREE = {
    "board": "another board",
    "cores": "another number of usable cores",
    "bundles": "other bundles",
    "backends": "other engines",
    "data": "other frames",
    "size": "frames of another size",
    "threads": "another number of threads",
    "parallel": "another way of sharing the cores",
    "reference": "other reference work",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One part against the baseline.

    Attributes:
        part: "classify infer" and the like.
        clock: "cpu" or "wall".
        change: by how much it is slower, as a share; negative where it is faster.
        low, high: 99 % interval of that.
        limit: how much slower it may be.
    """

    part: str
    clock: str
    change: float
    low: float
    high: float
    limit: float

    @property
    def slower(self) -> bool:
        """Whether it is slower by more than the limit, and by more than chance."""
        return self.change > self.limit and self.low > 0

    @property
    def unclear(self) -> bool:
        """Whether the noise could hide a slow-down of twice the limit."""
        return not self.slower and self.high > 2 * self.limit

    def to_json(self) -> dict[str, Any]:
        """Return it for a results file."""
        return {
            "part": self.part,
            "clock": self.clock,
            "change": self.change,
            "interval_99": [self.low, self.high],
            "limit": self.limit,
            "slower": self.slower,
            "unclear": self.unclear,
        }


def read_baseline(path: Path) -> dict[str, Any]:
    """Return an earlier bench.json.

    Raises:
        ConfigError: there is no such file, or it is not one that `rille bench` wrote.
    """
    again = "write one with rille bench --out DIR"
    try:
        if path.stat().st_size > _MAX_FILE:
            raise ConfigError(f"{path}: too large for a bench.json; {again}")
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as wrong:
        raise ConfigError(f"{path}: cannot be read ({wrong.strerror}); {again}") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{path}: not JSON; {again}") from None
    if not isinstance(found, dict) or not isinstance(found.get("identity"), dict):
        raise ConfigError(f"{path}: not a bench.json of rille bench --out; {again}")
    _parts(found, str(path))
    return found


def check_same(identity: Mapping[str, Any], baseline: Mapping[str, Any], where: str) -> None:
    """Refuse a baseline that measured something else.

    Args:
        identity: of this run.
        baseline: an earlier bench.json.
        where: its name.

    Raises:
        ConfigError: what differs, both values named.
    """
    before = baseline["identity"]
    for key, words in _MUST_AGREE.items():
        if before.get(key) != identity.get(key):
            raise ConfigError(
                f"{where}: measured with {words}: {_short(before.get(key))} there, "
                f"{_short(identity.get(key))} here; measure a new baseline, or measure the same"
            )


def _short(value: object) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 160 else f"{text[:157]}..."


def compare(
    baseline: Mapping[str, Any], parts: Mapping[str, Mapping[str, Sequence[float]]], where: str
) -> list[Change]:
    """Return how every part changed, by both clocks.

    Args:
        baseline: an earlier bench.json.
        parts: part -> clock -> ratios by block, of this run.
        where: the baseline's name.

    Raises:
        ConfigError: the baseline lacks a part, or has too few blocks.
    """
    before = _parts(baseline, where)
    found = []
    for part, clocks in parts.items():
        for clock, ratios in clocks.items():
            if part not in before or len(before[part][clock]) < LEAST_BLOCKS:
                raise ConfigError(
                    f"{where}: fewer than {LEAST_BLOCKS} blocks of {part!r}; measure a new "
                    "baseline with more frames"
                )
            change, low, high = shift(before[part][clock], ratios)
            found.append(
                Change(
                    part=part, clock=clock, change=change, low=low, high=high, limit=LIMITS[clock]
                )
            )
    return found


def shift(before: Sequence[float], now: Sequence[float]) -> tuple[float, float, float]:
    """Return by what share positive numbers grew, and a 99 % interval of that.

    Hodges and Lehmann's estimate of a shift, and the interval that belongs to the rank-sum test
    (Hollander, Wolfe and Chicken 2014, sections 4.2 and 4.3), of the logarithms. No distribution
    is assumed.
    """
    gaps: NDArray[np.float64] = np.sort(np.subtract.outer(np.log(now), np.log(before)).ravel())
    n, m = len(now), len(before)
    rank = round(n * m / 2 - _Z * math.sqrt(n * m * (n + m + 1) / 12))
    rank = min(max(rank, 1), len(gaps))
    middle, low, high = float(np.median(gaps)), float(gaps[rank - 1]), float(gaps[-rank])
    return math.expm1(middle), math.expm1(low), math.expm1(high)


def _parts(baseline: Mapping[str, Any], where: str) -> dict[str, dict[str, list[float]]]:
    """Return part -> clock -> ratios of a file that anybody may have written."""
    try:
        parts = baseline["stages"]["parts"]
        found = {
            str(part): {clock: [float(r) for r in entry["ratios"][clock]] for clock in LIMITS}
            for part, entry in parts.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ConfigError(f"{where}: its stages are missing or damaged") from None
    ratios = [r for clocks in found.values() for many in clocks.values() for r in many]
    if len(ratios) > _MAX_BLOCKS or not all(math.isfinite(r) and r > 0 for r in ratios):
        raise ConfigError(f"{where}: its stages hold what cannot be ratios")
    return found
