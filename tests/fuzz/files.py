"""Files: bundles, manifests, configurations, recordings, results, sidecars."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.fuzz.target import Target
from tests.runtime.recorded import an_event, record, unseen, worked
from tests.small_bundle import shrunk

from rille.bundle import Bundle, load_bundle, pack, write_bundle
from rille.bundle.manifest import parse_manifest
from rille.bundle.sign import check_signature
from rille.config import RunConfig, read_config
from rille.errors import FrameDecodeError
from rille.recording import open_recording
from rille.result import State
from rille.results import ResultFile
from rille.sinks.jsonl import event_record, json_bytes
from rille.site.slots import SLOTS, Rejected, SlotEntry, SlotTable, read_slots
from rille.sources.mcap import RecordingSource
from rille.sources.sidecar import Sidecar
from rille.uri import split_uri

Feed = Callable[[bytes], None]


def small_bundle(folder: Path) -> Bundle:
    """Return a bundle of a few kilobytes, so that thousands can be read."""
    return write_bundle(folder / "small", *shrunk(load_bundle("moon-scene"), 400, 3))


def _done(made: object) -> None:
    """Take what a reader gave: it was a good value, or the reader would have raised."""


def _sound(bundle: Bundle) -> None:
    """Hold what was loaded against what its manifest names, byte for byte."""
    named = json.loads(bundle.text)["files"]
    assert bundle.files.keys() == named.keys()
    for name, data in bundle.files.items():
        assert hashlib.sha256(data).hexdigest() == named[name]["sha256"]


def _folder(folder: Path) -> Feed:
    bundle = small_bundle(folder)
    where = Path(bundle.where)
    names = sorted(p.name for p in where.iterdir())
    whole = {name: (where / name).read_bytes() for name in names}

    def feed(data: bytes) -> None:
        # The first byte says which file is spoilt.
        name = names[(data[0] if data else 0) % len(names)]
        (where / name).write_bytes(data[1:])
        try:
            _sound(load_bundle(where))
        finally:
            (where / name).write_bytes(whole[name])

    return feed


def _folder_corpus(folder: Path) -> Sequence[bytes]:
    where = Path(small_bundle(folder).where)
    names = sorted(p.name for p in where.iterdir())
    files = [bytes([k]) + (where / name).read_bytes() for k, name in enumerate(names)]
    # The manifest is where there is most to understand.
    return [*files, *[files[names.index("manifest.json")]] * len(files)]


def _zip_corpus(folder: Path) -> Sequence[bytes]:
    pack(small_bundle(folder), folder / "whole.zip")
    return [(folder / "whole.zip").read_bytes()]


def _file(name: str, read: Callable[[Path], None]) -> Callable[[Path], Feed]:
    """Return what feeds a reader of files, each input under one and the same name."""

    def prepare(folder: Path) -> Feed:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)

        def feed(data: bytes) -> None:
            path.write_bytes(data)
            read(path)

        return feed

    return prepare


def _recording(path: Path) -> None:
    recording = open_recording(path)
    for frame in recording.frames():
        for decode in (frame.pixels, frame.mask):
            with contextlib.suppress(FrameDecodeError):
                decode()


def _played(path: Path) -> None:
    with RecordingSource(split_uri(f"mcap://{path}")) as source:
        source.open()
        for _ in range(20):
            try:
                if source.read(0.1) is None:
                    break
            except FrameDecodeError:
                pass


def _mcap_corpus(folder: Path) -> Sequence[bytes]:
    results = [worked(0), worked(1, colour=False), unseen(2, State.DROPPED), worked(3)]
    first = record(folder / "a.mcap", results)
    second = record(folder / "b.mcap", results[:1], jpeg=80)
    return [first.read_bytes(), second.read_bytes()]


def _lines_corpus(folder: Path) -> Sequence[bytes]:
    lines = [json_bytes(worked(k).to_json()) for k in range(3)]
    lines += [json_bytes(event_record(an_event())), json_bytes(unseen(3, State.FAILED).to_json())]
    return [b"\n".join(lines) + b"\n", lines[0], b"\n".join(lines)]


def _slots_corpus(folder: Path) -> Sequence[bytes]:
    entry = SlotEntry(
        name="x", version="1", task="classification", digest="a" * 64, installed="now", starts=2
    )
    row = Rejected(name="x", version="2", digest="b" * 64, why="it died", at="then")
    both = SlotTable(current="a", slots={"a": entry, "b": entry}, rejected=(row,))
    return [json.dumps(asdict(both)).encode()]


def _manifest(folder: Path) -> Feed:
    return lambda data: _done(parse_manifest(data, "manifest"))


def _manifest_corpus(folder: Path) -> Sequence[bytes]:
    return [load_bundle(name).text for name in ("moon-scene", "moon-rocks", "moon-craters")]


def _signature(folder: Path) -> Feed:
    return lambda data: _done(check_signature(b"{}", data, None, "bundle"))


_JSONL = b'{"index":0,"sun_azimuth_deg":12.5}\n{"index":1,"exposure_ms":3,"pose":{"x_m":1}}\n'
_CSV = b"name,sun_azimuth_deg,pose.x_m\na.png,12.5,3\nb.png,,4\n"

FILES = [
    Target(name="bundle folder", corpus=_folder_corpus, prepare=_folder, share=8),
    Target(
        name="bundle zip",
        corpus=_zip_corpus,
        prepare=_file("spoilt.zip", lambda path: _sound(load_bundle(path))),
        share=10,
    ),
    Target(name="manifest", corpus=_manifest_corpus, prepare=_manifest, share=10),
    Target(
        name="slots",
        corpus=_slots_corpus,
        prepare=_file(f"site/{SLOTS}", lambda path: _done(read_slots(path.parent))),
        share=4,
    ),
    Target(
        name="signature",
        corpus=lambda folder: [
            json.dumps({"key": "ab" * 32, "signature": "cd" * 64}).encode(),
        ],
        prepare=_signature,
        share=3,
    ),
    Target(
        name="config",
        corpus=lambda folder: [RunConfig().to_toml().encode()],
        prepare=_file("run.toml", lambda path: _done(read_config(path))),
        share=10,
    ),
    Target(name="mcap", corpus=_mcap_corpus, prepare=_file("a.mcap", _recording), share=8),
    Target(name="mcap source", corpus=_mcap_corpus, prepare=_file("a.mcap", _played), share=4),
    Target(
        name="results",
        corpus=_lines_corpus,
        prepare=_file("results.jsonl", lambda path: [*ResultFile(path)].clear()),
        share=6,
    ),
    Target(
        name="sidecar jsonl",
        corpus=lambda folder: [_JSONL],
        prepare=_file("meta.jsonl", lambda path: _done(Sidecar(path))),
        share=4,
    ),
    Target(
        name="sidecar csv",
        corpus=lambda folder: [_CSV],
        prepare=_file("meta.csv", lambda path: _done(Sidecar(path))),
        share=4,
    ),
]
