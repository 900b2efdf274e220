"""The faults there are: PX4's seven types for eight components, and what carries each of them.

PX4's failure injection (`failure <component> <type>`) gave the words. A combination that does not
stand here is refused by name: a bench that quietly injects nothing proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rille.errors import ConfigError, nearest

TYPES = ("off", "stuck", "garbage", "wrong", "slow", "delayed", "intermittent")
LINKS = ("shm", "udpraw", "mjpeg", "rtsp")
ANY = LINKS
HERE = ("process", "subprocess")
BOARD = ("process", "subprocess", "host")
OUTSIDE = ("subprocess",)
_STREAMS = ("mjpeg", "rtsp")
_RAW = ("shm", "udpraw")


@dataclass(frozen=True, slots=True)
class Kind:
    """One fault that can be injected.

    Attributes:
        words: what happens.
        links: over which links.
        targets: into which kinds of target: "process", "subprocess", "host".
        timed: whether it has a beginning and an end; otherwise it is there before the start.
    """

    words: str
    links: tuple[str, ...] = ANY
    targets: tuple[str, ...] = BOARD
    timed: bool = True


_Kinds = Mapping[str, Kind]
FAULTS: Mapping[str, Mapping[str, _Kinds]] = {
    "camera": {
        "off": {"": Kind("gives no frames; the link stays up")},
        "stuck": {"": Kind("gives the same picture again and again")},
        "garbage": {"noise": Kind("gives noise in place of pictures")},
        "wrong": {
            "black": Kind("gives black pictures"),
            "white": Kind("gives saturated pictures"),
            "flat": Kind("gives pictures without contrast"),
            "blurred": Kind("gives blurred pictures"),
            "covered": Kind("has something on its lens"),
            "size": Kind("gives pictures of another size", ("shm",)),
            "colour": Kind("gives colour in place of grey", ("shm",)),
            "fast": Kind("gives `amount` frames in place of each"),
        },
        "slow": {"": Kind("gives one frame in `amount`")},
        "delayed": {"": Kind("hands each frame over `amount` s after it was captured", ("shm",))},
        "intermittent": {"": Kind("gives frames for `amount` s, none for as long, and so on")},
    },
    "link": {
        "off": {"": Kind("is down: refused, or gone", ("shm", *_STREAMS))},
        "stuck": {"": Kind("stays open and carries nothing", ("udpraw", *_STREAMS))},
        "garbage": {
            "bits": Kind("flips bits", (*_RAW, "mjpeg")),
            "cut": Kind("cuts what it carries short", (*_RAW, "mjpeg")),
        },
        "wrong": {
            "page": Kind("answers with a web page", ("mjpeg",)),
            "endless": Kind("sends header lines without end", ("mjpeg",)),
            "huge": Kind("announces pictures of 100 GB", ("mjpeg",)),
            "babble": Kind("sends no boundary between pictures", ("mjpeg",)),
            "bomb": Kind("sends a small file of a 20000 x 20000 picture", ("mjpeg",)),
            "header": Kind("sends heads that contradict themselves", ("udpraw",)),
            "stranger": Kind("carries datagrams of somebody else too", ("udpraw",)),
            "shape": Kind("says frames have another size", ("udpraw",)),
            "count": Kind("has a count that jumps", ("shm",)),
        },
        "slow": {"": Kind("takes `amount` s for a frame", ("udpraw", "mjpeg"))},
        "delayed": {"": Kind("delivers `amount` s later", ("udpraw", "mjpeg"))},
        "intermittent": {
            "loss": Kind("loses a share `amount` of the datagrams", ("udpraw",)),
            "reorder": Kind("swaps neighbouring datagrams", ("udpraw",)),
            "twice": Kind("delivers datagrams twice", ("udpraw",)),
            "flaps": Kind("is down for `amount` s, up for as long, and so on", ("shm", "mjpeg")),
        },
    },
    "model": {
        "off": {
            name: Kind(words, ANY, HERE, False)
            for name, words in {
                "bundle": "is not there at all",
                "file": "lacks the network's file",
                "manifest": "lacks its manifest",
            }.items()
        },
        "garbage": {
            name: Kind(words, ANY, HERE, False)
            for name, words in {
                "bit": "has one bit of the network flipped",
                "cut": "has its network cut short",
                "manifest": "has a manifest that is no JSON",
                "nested": "has a manifest of 100,000 brackets",
                "nan": "has a number that is none in its manifest",
                "random": "has random bytes for a network, with their digest brought up to date",
            }.items()
        }
        | {
            "installed": Kind("is damaged in the slot that flies next", ANY, OUTSIDE),
        },
        "wrong": {
            name: Kind(words, ANY, HERE, False)
            for name, words in {
                "weights": "has other weights, with their digest brought up to date",
                "labels": "has one label too few",
                "task": "does another task",
                "shape": "says its input has another shape",
                "symlink": "has a link in place of the network's file",
                "schema": "is of a schema from the future",
                "path": "names a file outside its folder",
                "preprocess": "lacks a step of its preprocessing",
            }.items()
        }
        | {
            "unsigned": Kind("is not signed by the key that is trusted", ANY, OUTSIDE, False),
            "installed": Kind("does another task in the slot that flies next", ANY, OUTSIDE),
            "table": Kind("has a table of slots that is damaged", ANY, OUTSIDE),
        },
    },
    "storage": {
        "off": {
            "full": Kind("has no room left, then some again", ANY, HERE),
            "results": Kind("has no room for results.jsonl", ANY, OUTSIDE, False),
            "limit": Kind("lets files grow to `amount` kB only", ANY, OUTSIDE, False),
            "folder": Kind("has no place for the output folder", ANY, OUTSIDE, False),
        },
        "stuck": {"pipe": Kind("never takes what is written", ANY, HERE, False)},
        "garbage": {"torn": Kind("holds what a killed run left", ANY, OUTSIDE, False)},
        "wrong": {"readonly": Kind("is read-only", ANY, OUTSIDE, False)},
        "slow": {"": Kind("takes `amount` s for each write", ANY, OUTSIDE, False)},
        "intermittent": {"": Kind("fails every `amount`th write", ANY, OUTSIDE, False)},
    },
    "clock": {
        "stuck": {"": Kind("of the camera stands still")},
        "garbage": {"": Kind("of the camera says random times")},
        "wrong": {
            "": Kind("of the camera is `amount` s off"),
            "capture": Kind("by which frames are captured is `amount` s off", ("shm",)),
            "boot": Kind("of the device is `amount` s ahead", ("udpraw", "mjpeg"), OUTSIDE, False),
        },
        "slow": {"": Kind("of the camera runs `amount` times as fast")},
        "delayed": {"": Kind("of the camera is read `amount` s late")},
        "intermittent": {"": Kind("of the camera jumps `amount` s and back, frame by frame")},
    },
    "cpu": {
        "slow": {
            "burners": Kind("is shared with `amount` busy processes", ANY, HERE),
            "quota": Kind("is allowed `amount` of a core", ANY, OUTSIDE),
        },
        "stuck": {"": Kind("does not serve the device at all", ANY, OUTSIDE)},
        "intermittent": {"": Kind("serves the device half of every `amount` s", ANY, OUTSIDE)},
    },
    "sink": {
        "off": {"": Kind("has nobody who listens", ANY, HERE)},
        "stuck": {"clients": Kind("has readers who connect and never read", ANY, HERE)},
        "garbage": {"requests": Kind("is asked nonsense", ANY, HERE)},
        "wrong": {"host": Kind("has a name that does not exist", ANY, HERE, False)},
        "intermittent": {"": Kind("has a listener for `amount` s, none for as long", ANY, HERE)},
    },
    "process": {
        "off": {
            "run": Kind("is killed: the run, under its supervisor", ANY, OUTSIDE),
            "capture": Kind("is killed: the capture process", ANY, HERE),
            "supervisor": Kind("is killed: the supervisor", ANY, OUTSIDE),
        },
        "stuck": {
            "run": Kind("is stopped for good: the run, under its supervisor", ANY, OUTSIDE),
            "capture": Kind("is stopped for good: the capture process", ANY, HERE),
            "bundle": Kind("is stopped `amount` s into each flight of a new bundle", ANY, OUTSIDE),
        },
        "intermittent": {
            "run": Kind("is killed every `amount` s: the run, under its supervisor", ANY, OUTSIDE),
            "capture": Kind("is killed every `amount` s: the capture process", ANY, HERE),
            "bundle": Kind("is killed `amount` s into each flight of a new bundle", ANY, OUTSIDE),
        },
    },
}
"""Component -> type -> value -> what it is."""


def kind_of(component: str, type_: str, value: str) -> Kind:
    """Return what a fault is.

    Raises:
        ConfigError: there is no such fault; says which there are.
    """
    if component not in FAULTS:
        raise ConfigError(
            f"there is no component {component!r}{nearest(component, list(FAULTS))} "
            f"(known: {', '.join(FAULTS)})"
        )
    if type_ not in TYPES:
        raise ConfigError(
            f"there is no type of fault {type_!r}{nearest(type_, list(TYPES))} "
            f"(known: {', '.join(TYPES)})"
        )
    kinds = FAULTS[component].get(type_)
    if kinds is None:
        raise ConfigError(
            f"{component} {type_}: not supported (of {component} there is: "
            f"{', '.join(FAULTS[component])})"
        )
    if value not in kinds:
        known = ", ".join(repr(name) for name in kinds)
        raise ConfigError(
            f"{component} {type_}: no value {value!r}{nearest(value, list(kinds))} (known: {known})"
        )
    return kinds[value]
