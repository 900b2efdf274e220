"""Choosing the verb, and turning errors into one line and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from rille.errors import RilleError, nearest

_VERBS = {
    "run": "stream frames from a source through the networks, within a budget",
    "record": "run, and keep frames, results, masks and events in one MCAP file",
    "replay": "work on a recording once more and see whether the same comes out",
    "compare": "compare two results or recordings field by field",
    "select": "choose what of a recording to send down within a number of bytes",
    "bench": "measure latency on this machine: percentiles, and the ratio to the floor",
    "sim": "render simulated scenes: data sets with exact truth, videos",
    "eval": "score a bundle on a labelled split: accuracy, Dice, F1",
    "data": "check a labelled data set: classes, damaged files, leaks between splits",
    "bundle": "look into bundles; verify, sign, pack and install them",
    "engine": "build TensorRT engines of a bundle on this device",
    "service": "run as a service of systemd: install it, take it away",
    "hil": "test a device: frames over a link, faults on schedule, a verdict",
    "seu": "flip bits of a bundle's networks and measure what happens and who notices",
    "doctor": "say what this machine can do, and what to mend",
}
_EXTRAS = {
    "train": "train a network from a recipe",
    "search": "train a recipe with different settings and rank them",
    "explain": "show where a trained network looked: heat maps, feature maps",
    "export": "quantise a trained network and write a bundle",
}
_EXTRA_OF = {"explain": "train", "search": "train"}
_FRAMEWORKS = {"keras", "tensorflow", "jax", "torch"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: the words after "rille"; None for those of this process.

    Returns:
        0 good; 1 a check failed; 2 usage or configuration; 3 source, device or output; 4 bundle or
        backend; 5 safe mode; 130 interrupted by Ctrl-C.
    """
    # OpenCV and its FFmpeg report on stderr what rille says in its own words. They read this when
    # they are loaded, which is later: a supervisor does without them.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(_usage())
        return 0 if words else 2
    if words[0] == "--version":
        import rille

        print(f"rille {rille.__version__}")
        return 0
    verb, rest = words[0], words[1:]
    try:
        return _command(verb, rest)(rest)
    except RilleError as wrong:
        print(f"rille {verb}: {wrong}", file=sys.stderr)
        return wrong.exit_code
    except ModuleNotFoundError as wrong:
        if (wrong.name or "").split(".")[0] not in _FRAMEWORKS or verb not in _EXTRAS:
            raise
        extra = _EXTRA_OF.get(verb, verb)
        print(
            f'rille {verb}: {wrong}. Install it with: pip install "rille[{extra}]"', file=sys.stderr
        )
        return 2
    except KeyboardInterrupt:
        print(f"rille {verb}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone; writing to it at exit must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _command(verb: str, rest: list[str]) -> Callable[[list[str]], int]:
    if verb in _VERBS:
        if verb in ("run", "record") and "--supervised" in rest:
            return partial(importlib.import_module("rille.cli.supervise").main, verb)
        command: Callable[[list[str]], int] = importlib.import_module(f"rille.cli.{verb}").main
        return command
    points = _points()
    if verb in points:
        return cast("Callable[[list[str]], int]", points[verb].load())
    known = [*_VERBS, *_EXTRAS, *points]
    hint = nearest(verb, known)
    from rille.errors import ConfigError

    raise ConfigError(f"there is no such verb{hint} (known: {', '.join(dict.fromkeys(known))})")


def _points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="rille.commands")}


def _usage() -> str:
    verbs = {**_VERBS, **_EXTRAS}
    verbs |= {name: "from an installed package" for name in _points() if name not in verbs}
    lines = [f"  {verb:8s} {what}" for verb, what in verbs.items()]
    return "\n".join(
        [
            "usage: rille VERB [options]      (rille VERB --help tells more)",
            "",
            "Trained vision on a planetary rover, within a latency budget.",
            "",
            *lines,
            "",
            'train, search, explain and export need: pip install "rille[train,export]"',
        ]
    )
