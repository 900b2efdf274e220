"""The options of `rille bench`, and what is nonsense among them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from rille.config import NETWORKS
from rille.errors import ConfigError
from rille.uri import SourceUri

_MOST_FRAMES, _MOST_THREADS, _MOST_COLD = 10_000_000, 64, 100
_MOST_FPS, _MOST_SOAK_MIN, _MOST_FEATURES = 10_000.0, 10_080.0, 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchOptions:
    """What was asked for, within sensible limits.

    Attributes:
        classify, segment: names or paths of bundles; "" for none.
        frames, warmup: how many count, and how many come before.
        size: width and height of the frames in pixels.
        threads: for one inference; None as measured.
        parallel: whether both networks run at the same time; None as measured.
        plain: whether networks run in the steps of their files, as in the floor.
        budget_ms: the time each frame has.
        fps: frames a second of the open loop; None for none.
        soak_min: minutes on end; None for none.
        cold: fresh processes that are started.
        json: one file with everything; or None.
        out: folder for bench.json, bench.md, bench.html; or None.
        baseline: an earlier bench.json; or None.
        predict: whether to fit a cost model and predict, instead of all else.
        features: number of features to predict for; None for as many as the frames hold.

    Raises:
        ConfigError: a value that makes no sense.
    """

    classify: str
    segment: str
    frames: int
    warmup: int
    size: tuple[int, int]
    threads: int | None
    parallel: bool | None
    plain: bool
    budget_ms: float
    fps: float | None
    soak_min: float | None
    cold: int
    json: Path | None
    out: Path | None
    baseline: Path | None
    predict: bool
    features: int | None

    def __post_init__(self) -> None:
        _within("--frames", self.frames, 1, _MOST_FRAMES)
        _within("--warmup", self.warmup, 0, _MOST_FRAMES)
        _within("--cold", self.cold, 0, _MOST_COLD)
        if self.threads is not None:
            _within("--threads", self.threads, 1, _MOST_THREADS)
        if self.fps is not None:
            _within("--fps", self.fps, 0.01, _MOST_FPS)
        if self.soak_min is not None:
            _within("--soak", self.soak_min, 0.01, _MOST_SOAK_MIN)
        if self.features is not None:
            _within("--features", self.features, 0, _MOST_FEATURES)
            if not self.predict:
                raise ConfigError("--features is for --predict: frames hold what they hold")
        if self.predict and (self.out or self.baseline or self.soak_min or self.plain):
            raise ConfigError("--predict goes with neither --out, --baseline, --soak nor --plain")
        if not (self.classify or self.segment):
            raise ConfigError("--classify and --segment are both empty: name a bundle for one")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} must be from {low:g} to {high:g}, not {value:g}")


def read_bench_options(arguments: list[str]) -> BenchOptions:
    """Read the words after "rille bench"; ends the process where they cannot be understood.

    Raises:
        ConfigError: the size of the frames is not one.
    """
    parser = _parser()
    found = parser.parse_args(arguments)
    size = SourceUri("--size", "", "", {"size": found.size}).size((640, 480))
    try:
        return BenchOptions(
            classify=found.classify,
            segment=found.segment,
            frames=found.frames,
            warmup=found.warmup,
            size=size,
            threads=found.threads,
            parallel=NETWORKS[found.networks],
            plain=found.plain,
            budget_ms=found.budget_ms,
            fps=found.fps,
            soak_min=found.soak,
            cold=found.cold,
            json=found.json,
            out=found.out,
            baseline=found.baseline,
            predict=found.predict,
            features=found.features,
        )
    except ConfigError as wrong:
        parser.error(str(wrong))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rille bench",
        description="Measure the pipeline over pre-loaded frames, the next as soon as the last is "
        "done, taking turns with the floor: resize, set_tensor, invoke and get_tensor alone, with "
        "the networks' files as they are. Ends with 1 when a part is slower than in --baseline, "
        "beyond the noise.",
    )
    add = parser.add_argument
    add("--classify", default="mars-msl24", metavar="BUNDLE")
    add("--segment", default="moon-craters", metavar="BUNDLE")
    add("--frames", type=int, default=1000, metavar="N", help="in each loop (1000)")
    add("--warmup", type=int, default=50, metavar="N")
    add("--size", default="640x480", metavar="WxH", help="size of the frames")
    add("--threads", type=int, help="for one inference (default: as measured)")
    add("--networks", choices=sorted(NETWORKS), default="auto", help="one after the other or not")
    add(
        "--plain", action="store_true", help="networks in the steps of their files, as in the floor"
    )
    add("--budget-ms", type=float, default=100.0)
    add("--fps", type=float, metavar="N", help="also let frames arrive at this rate, come what may")
    add("--soak", type=float, metavar="MIN", help="also work for so many minutes on end")
    add("--cold", type=int, default=3, metavar="N", help="fresh processes started (3)")
    add("--json", type=Path, metavar="FILE", help="write everything as JSON")
    add("--out", type=Path, metavar="DIR", help="write bench.json, bench.md and bench.html")
    add("--baseline", type=Path, metavar="FILE", help="an earlier bench.json to compare with")
    add("--predict", action="store_true", help="from three measurements, the age for --size, --fps")
    add("--features", type=int, metavar="N", help="and for so many features in a frame")
    return parser
