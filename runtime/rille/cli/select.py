"""`rille select`: what to send down."""

from __future__ import annotations

import argparse
import io
import math
import sys
import zipfile
from pathlib import Path

from rille.downlink.pack import MANIFEST, MOST_FRAMES, Seen, Selection, look, select
from rille.downlink.products import file_name, make
from rille.errors import ConfigError, SinkError
from rille.files import sink_error, write_whole
from rille.recording import Recording, open_recording

_ZIP_FILE, _ZIP_END = 76, 22
"""Bytes that an uncompressed zip adds for each file, besides its name twice, and at its end."""
_UNITS = {"": 1, "k": 1000, "m": 1_000_000, "g": 1_000_000_000}


def main(arguments: list[str]) -> int:
    """Run `rille select`; see `rille select --help`."""
    options = _parser().parse_args(arguments)
    budget, priority = _bytes(options.bytes), _priority(options.priority)
    path = options.run / "run.mcap" if options.run.is_dir() else options.run
    out = options.out or path.parent / "downlink"
    zipped = out.suffix == ".zip"
    _check_free(out)
    recording = open_recording(path)
    seen = look(recording)
    _note_unknown(priority, seen)
    overhead = _ZIP_FILE if zipped else 0
    selection = select(seen, budget - (_ZIP_END if zipped else 0), priority, overhead)
    files = _contents(recording, selection)
    if zipped:
        _write_zip(out, files)
    else:
        _write_folder(out, files)
    _conclude(recording, seen, selection, budget, out)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rille select",
        description="Choose what of a recorded run to send down: records, thumbnails, masks, crops "
        "and whole frames, best worth a byte first, with a manifest of what is sent and what is "
        "not. A larger budget sends everything that a smaller one does, and more. Of runs above "
        f"{MOST_FRAMES} frames, as many at even distances are ranked.",
    )
    parser.add_argument("run", type=Path, help="a recording, or the folder of a recorded run")
    parser.add_argument(
        "--bytes", required=True, metavar="N", help="bytes for all of it: 250000, 250k, 1.5M"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="a new folder, or a file that ends in .zip"
    )
    parser.add_argument(
        "--priority", default="", metavar="LABEL=N,...", help="what matters more: crater=3,stone=0"
    )
    return parser


def _bytes(text: str) -> int:
    unit = text[-1:].lower() if text[-1:].lower() in _UNITS else ""
    try:
        value = float(text[: len(text) - len(unit)]) * _UNITS[unit]
    except ValueError:
        value = math.nan
    if not 1 <= value <= 1e15:
        raise ConfigError(f"--bytes must be a number above 0, as in 250000 or 250k, not {text!r}")
    return int(value)


def _priority(text: str) -> dict[str, float]:
    found = {}
    for part in filter(None, text.split(",")):
        label, _, number = part.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not label.strip() or not 0 <= value <= 1000:
            raise ConfigError(f"--priority {part}: expected a label and a number from 0 to 1000")
        found[label.strip()] = value
    return found


def _check_free(out: Path) -> None:
    """Refuse a place with something in it: a selection is sent as it lies there."""
    if out.is_dir() and any(out.iterdir()):
        raise SinkError(f"{out}: holds files already; remove them or choose another --out")
    if out.is_file() and out.suffix != ".zip":
        raise SinkError(f"{out}: is a file; choose a folder, or a name that ends in .zip")


def _note_unknown(priority: dict[str, float], seen: Seen) -> None:
    known = {label for sight in seen.sights for label in sight.labels}
    for label in priority:
        if label not in known:
            there = ", ".join(sorted(known)) or "none"
            print(f"note: nothing in this run is labelled {label!r}: {there}", file=sys.stderr)


def _contents(recording: Recording, selection: Selection) -> dict[str, bytes]:
    """Make the chosen products once more, the manifest last."""
    wanted = {ranked.product.name for ranked in selection.ranked}
    frames = {ranked.product.index for ranked in selection.ranked}
    made = {}
    for recorded in recording.frames():
        if recorded.index in frames:
            for (kind, label), content in make(recorded, recorded.pixels()).items():
                name = file_name(recorded.index, kind, label)
                if name in wanted:
                    made[name] = content
    return {**made, MANIFEST: selection.manifest}


def _write_folder(out: Path, files: dict[str, bytes]) -> None:
    try:
        for name, content in files.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(out / name, content)
    except OSError as wrong:
        raise sink_error(out, wrong) from None


def _write_zip(out: Path, files: dict[str, bytes]) -> None:
    """Write an uncompressed zip with the same bytes whenever it is made."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    write_whole(out, buffer.getvalue())


def _conclude(
    recording: Recording, seen: Seen, selection: Selection, budget: int, out: Path
) -> None:
    kinds: dict[str, int] = {}
    for ranked in selection.ranked:
        kinds[ranked.product.kind] = kinds.get(ranked.product.kind, 0) + 1
    sent = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "the manifest alone"
    print(f"{selection.total} of {budget} bytes: {sent}")
    print(f"chosen: {selection.coverage}")
    print(f"every k-th whole frame instead: {selection.plain}")
    for why, count in seen.left_out.items():
        print(f"note: {count} frames not ranked ({why})", file=sys.stderr)
    if recording.cut:
        print(f"note: {recording.path}: {recording.cut}", file=sys.stderr)
    print(f"wrote {len(selection.ranked) + 1} files to {out}", file=sys.stderr)
