"""Side by side with other programs: its part of the results page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.page import SHORT_FRAMES, Section, say, shown, table
from benchmarks.peers.camera import Streamed
from benchmarks.peers.peer import Workload
from benchmarks.peers.side_by_side import BLOCK, Comparison, PeerRun, Settings, compare_all
from rille.latency import percentile_interval, summary

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLAIN_MOST = 1.05
"""How much slower than a plain loop rille may be."""
_WORDS = """\
Every program is a process of its own, answers for the same frames in memory, and takes turns of
{block} frames with the others in a rotating order. *Alone*: the next frame when the answer is
there; p50 with its 95 % interval; frames/s is what that allows. *Answers*: share of frames with the
label, and share of mask pixels, that the bundle's own preprocessing and network give with one
thread; "not steady" where an answer differed between repeats, and **differs** where labels do or
less than 98 % of the pixels agree. *With a camera*: age is from capture to answer; lost is every
frame without one, told is how many of those the program was told of in any way. Overload is twice
the rate it served alone. A script reads from a driver with four buffers, as `cv2.VideoCapture`
does; MediaPipe's live stream is handed every frame; rille runs `Pipeline.stream` with a budget so
long that nothing is shed. {short}
"""


def measure(classify: str, segment: str, pool: NDArray[np.uint8], settings: Settings) -> Section:
    """Run all workloads.

    Args:
        classify, segment: bundles.
        pool: (n, 480, 640, 3) RGB uint8.
        settings: how long and where.
    """
    kinds = {
        "Classification": Workload(classify=classify),
        "Segmentation": Workload(segment=segment),
        "Both": Workload(classify=classify, segment=segment),
    }
    found = {}
    for name, workload in kinds.items():
        say(f"peers: {name.lower()}")
        # A camera for each single task and for both would show the same twice.
        cameras = 0.0 if name == "Segmentation" else settings.seconds
        found[name] = compare_all(workload, pool, replace(settings, seconds=cameras))
    short = f"Short run: fewer than {SHORT_FRAMES} frames each." * (settings.frames < SHORT_FRAMES)
    text = _WORDS.format(block=BLOCK, short=short)
    text += "".join(told_of(name, one, settings) for name, one in found.items())
    return Section(
        title="Side by side with other programs",
        text=text + _slower(found),
        data={name: _data(one) for name, one in found.items()},
    )


def told_of(name: str, found: Comparison, settings: Settings) -> str:
    """Return the tables of one workload, its verdict, and who was left out and why."""
    bundles = found.workload.bundles().values()
    which = " and ".join(f"`{b.name}` (bundle {b.digest[:12]})" for b in bundles)
    parts = [f"\n### {name}: {which}\n\n", _alone(found), "\n", _floor(found)]
    if any(run.fixed is not None for run in found.runs):
        parts += ["\n", _cameras(found, settings)]
    parts.append(_verdict(found))
    parts += ["\n", *_notes(found)]
    return "".join(parts)


def _alone(found: Comparison) -> str:
    ours = found.runs[0].figures["p50"] if found.runs else None
    rows = []
    for run in found.runs:
        figures = run.figures
        low, high = percentile_interval(np.sort(run.spent_ms), 0.5)
        rows.append(
            [
                run.entry.shown,
                str(figures["n"]),
                f"{shown(figures['p50'])} ({shown(low)} to {shown(high)})",
                shown(figures["p99"]),
                f"{1000 / figures['mean']:.1f}",
                f"{figures['p50'] / ours:.2f}" if ours else "-",
                str(run.agreement),
            ]
        )
    head = ["alone", "n", "p50 ms", "p99 ms", "frames/s", "p50 / rille's", "answers"]
    return table(head, rows)


def _floor(found: Comparison) -> str:
    rows = [
        [
            f"litert-benchmark, {name}",
            str(sum(one.runs for one in runs)),
            shown(min(one.median_ms for one in runs)),
            shown(float(np.median([one.median_ms for one in runs]))),
        ]
        for name, runs in found.tool.items()
    ]
    head = ["network alone, on a ready input", "n", "best median ms", "median of medians ms"]
    return table(head, rows)


def _cameras(found: Comparison, settings: Settings) -> str:
    rows = []
    for run in (one for one in found.runs if one.fixed is not None):
        for fps, one in ((settings.fps, run.fixed), (run.overload_fps, run.overload)):
            if isinstance(one, Streamed):
                rows.append([run.entry.shown, f"{fps:.1f}", *_fate(one)])
            else:
                rows.append([run.entry.shown, f"{fps:.1f}", f"failed: {one}", *["-"] * 5])
    head = ["with a camera", "frames/s", "offered", "answered", "lost", "told", "age p50 ms"]
    return table([*head, "age p99 ms"], rows)


def _verdict(found: Comparison) -> str:
    """Hold rille against the fastest plain loop that gives the same answers."""
    loops = [run for run in found.runs if run.entry.peer == "plain"]
    if not loops or found.runs[0].entry.peer != "rille":
        return ""
    ours, best = found.runs[0], min(loops, key=lambda run: float(np.median(run.spent_ms)))
    ratio = float(np.median(ours.spent_ms) / np.median(best.spent_ms))
    kept = "kept" if ratio <= PLAIN_MOST else "**missed**"
    streams = [one for one in (ours.fixed, ours.overload) if isinstance(one, Streamed)]
    silent = sum(one.lost - one.told for one in streams)
    drops = f" Drops that rille did not report: {silent}." if streams else ""
    return (
        f"\nrille over the fastest plain loop ({best.entry.shown}), p50: **{ratio:.2f}** "
        f"(target at most {PLAIN_MOST}: {kept}).{drops}\n"
    )


def _fate(one: Streamed) -> list[str]:
    figures = summary(one.ages_ms)
    told = f"{one.told} of {one.lost}" if one.lost else "-"
    numbers = [str(one.offered), str(len(one.ages_ms)), str(one.lost)]
    return [*numbers, told, shown(figures["p50"]), shown(figures["p99"])]


def _notes(found: Comparison) -> Iterator[str]:
    for run in found.runs:
        versions = ", ".join(f"{k} {v}" for k, v in run.versions.items())
        yield f"- {run.entry.shown}: {versions}; {run.how}\n"
    for why in dict.fromkeys(found.refused.values()):
        yield f'- {_names(found.refused, why)}: **refused**: "{why}"\n'
    for why in dict.fromkeys(found.missing.values()):
        yield f"- {_names(found.missing, why)}: **not run**: {why}\n"


def _names(reasons: dict[str, str], why: str) -> str:
    """Return the programs that were left out for one reason."""
    return "; ".join(name for name, reason in reasons.items() if reason == why)


def _slower(found: dict[str, Comparison]) -> str:
    """Say where rille is not the fastest, and what the difference is made of."""
    worse = []
    for name, one in found.items():
        if not one.runs or one.runs[0].entry.peer != "rille":
            continue
        ours = one.runs[0].figures
        for run in one.runs[1:]:
            for share in ("p50", "p99"):
                theirs = run.figures[share]
                if theirs is not None and ours[share] is not None and theirs < ours[share]:
                    ratio = ours[share] / theirs
                    worse.append(f"{name.lower()}, {share}: {ratio:.2f} x {run.entry.shown}")
    if not worse:
        return "\n### Where rille is slower\n\nIn none of the rows above.\n"
    listed = "".join(f"- {line}\n" for line in worse)
    return f"\n### Where rille is slower\n\n{listed}\n{_WHY}"


_WHY = """\
What rille does for each frame and a plain loop does not: it looks whether the frame is dark,
saturated, blurred, covered or repeated; fits an ellipse with a score to each region instead of a
box; predicts whether each stage still fits into the budget; checks that outputs are numbers and
not stuck; and accounts for the frame. Where a loop with another number of threads is
faster, `engine.threads` was chosen by measuring when the bundles were first used on this machine;
`rille doctor` measures again. A careless resize is cheaper than a right one: its row shows both.
"""


def _data(found: Comparison) -> dict[str, Any]:
    return {
        "bundles": {s: b.digest for s, b in found.workload.bundles().items()},
        "runs": {run.entry.shown: _run_data(run) for run in found.runs},
        "refused": found.refused,
        "missing": found.missing,
    }


def _run_data(run: PeerRun) -> dict[str, Any]:
    streams = {"fixed": run.fixed, "overload": run.overload}
    return {
        "alone_ms": run.figures,
        "versions": run.versions,
        "how": run.how,
        "answers": str(run.agreement),
        "overload_fps": run.overload_fps,
        **{
            name: {
                "offered": one.offered,
                "lost": one.lost,
                "told": one.told,
                "age_ms": summary(one.ages_ms),
            }
            for name, one in streams.items()
            if isinstance(one, Streamed)
        },
    }
