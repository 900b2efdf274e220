"""`rille seu`: what flipped bits do to the networks of a bundle, and who notices."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rille
from rille.bundle import Bundle, load_bundle
from rille.config import EngineConfig
from rille.defences import Defences
from rille.errors import BundleError, ConfigError, SourceError
from rille.files import sink_error, write_whole
from rille.seu.campaign import Subject, outcomes
from rille.seu.defence import scrub_frames
from rille.seu.flatbuffer import weight_spans
from rille.seu.flips import Flip, Part, over_all, over_doses, over_layers, over_structure
from rille.seu.measure import summary
from rille.seu.page import write_page
from rille.seu.twin import NAME, with_twin
from rille.sources import open_source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SOURCE = "sim://moon?view=rover&terrain=boulder-field&seed=7&frames=600"
_DOSES = (10, 100, 1000, 10_000)


def main(arguments: list[str]) -> int:
    """Run `rille seu`; see `rille seu --help`."""
    options = _parser().parse_args(arguments)
    for name in ("flips", "frames", "every"):
        if getattr(options, name) < 1:
            raise ConfigError(f"--{name} must be at least 1, not {getattr(options, name)}")
    if min(options.each_layer, options.each_dose, options.structure) < 0:
        raise ConfigError("--each-layer, --each-dose and --structure must be at least 0")
    pictures = _pictures(options.source, options.frames, options.every)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as wrong:
        raise sink_error(options.out, wrong) from None
    found = []
    for reference in options.bundle:
        bundle = load_bundle(reference)
        names = _chosen(bundle, options.variant)
        if options.float:
            bundle = with_twin(bundle, options.out / f"{bundle.name}-with-float")
            names.append(NAME)
        found += [_network(bundle, name, pictures, options) for name in names]
    record = {
        "rille": rille.__version__,
        "source": options.source,
        "frames": options.frames,
        "seed": options.seed,
        "networks": found,
    }
    write_whole(options.out / "seu.json", json.dumps(record, indent=1) + "\n")
    write_page(options.out / "seu.html", record)
    print(_table(found))
    print(f"wrote seu.json and seu.html in {options.out}", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rille seu",
        description="Flip single bits of a bundle's networks, run each spoilt network on the same "
        "frames as the clean one in a process that may crash, and state how often answers change "
        "without a sign, with Wilson 95 % intervals, and what each defence notices and when.",
    )
    parser.add_argument("bundle", nargs="+", help="name of a shipped bundle, or path")
    parser.add_argument("--variant", action="append", help="which networks (default: every TFLite)")
    parser.add_argument(
        "--float",
        action="store_true",
        help="also the integer network in float32, its weights dequantised",
    )
    parser.add_argument("--flips", type=int, default=1000, help="single flips over all weights")
    parser.add_argument(
        "--each-layer", type=int, default=10, metavar="N", help="more flips for each layer"
    )
    parser.add_argument(
        "--each-dose", type=int, default=20, metavar="N",
        help=f"trials with each of {', '.join(map(str, _DOSES))} flips at once",
    )  # fmt: skip
    parser.add_argument(
        "--structure", type=int, default=200, metavar="N", help="flips outside of the weights"
    )
    parser.add_argument("--source", default=_SOURCE, help="where the frames come from")
    parser.add_argument("--frames", type=int, default=8, help="how many frames each trial sees")
    parser.add_argument("--every", type=int, default=1, help="take every n-th frame of the source")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/seu"), help="folder for the report")
    return parser


def _chosen(bundle: Bundle, names: list[str] | None) -> list[str]:
    """Return the TFLite networks that are asked for; all without names.

    Raises:
        BundleError: there is none.
    """
    forms = bundle.manifest.variants
    chosen = [
        n for n, form in forms.items() if form.target == "tflite" and (not names or n in names)
    ]
    if not chosen:
        raise BundleError(f"{bundle.where}: no such TFLite network (here: {', '.join(forms)})")
    return chosen


def _pictures(uri: str, count: int, every: int) -> tuple[NDArray[np.uint8], ...]:
    """Return frames of a source.

    Raises:
        SourceError: it has too few.
    """
    found: list[NDArray[np.uint8]] = []
    with open_source(uri) as source:
        for number, frame in enumerate(source):
            if number % every == 0:
                found.append(frame.pixels.copy())
            if len(found) == count:
                return tuple(found)
    raise SourceError(f"{uri}: gives {len(found)} frames of the {count} asked for")


def _network(
    bundle: Bundle,
    name: str,
    pictures: tuple[NDArray[np.uint8], ...],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Try one network and return what is stated of it."""
    _, form = bundle.variant(name)
    model = bundle.files[form.file]
    spans = weight_spans(model)
    flips = [
        *over_all(spans, options.flips, options.seed),
        *over_layers(spans, options.each_layer, options.seed),
        *over_doses(spans, _DOSES, options.each_dose, options.seed),
        *over_structure(spans, len(model), options.structure, options.seed),
    ]
    subject = Subject(bundle=bundle.where, variant=name, pictures=pictures)
    label = f"{bundle.name} {name}"
    tried = list(zip(flips, outcomes(subject, flips, _progress(label, len(flips))), strict=True))
    single = [flip for flip in flips if flip.part is Part.ALL]
    defences, engine = Defences(), EngineConfig()
    size = defences.scrub_kb * 1024
    return {
        "bundle": bundle.name,
        "version": bundle.manifest.version,
        "digest": bundle.digest,
        "variant": name,
        "precision": form.precision,
        "weight_bits": sum(span.bits for span in spans),
        "layers": len({span.layer for span in spans}),
        "golden_images": len(bundle.manifest.golden_images),
        "check_every": engine.check_every,
        "scrub_kb": defences.scrub_kb,
        "rebuild_s": defences.rebuild_s,
        **summary(
            tried,
            scrub_frames(bundle, form.file, single, size, options.seed),
            pictures=len(pictures),
            golden_images=len(bundle.manifest.golden_images) if form.golden else 0,
            check_every=engine.check_every,
            seed=options.seed,
        ),
        "trials": [_trial(flip, outcome.to_json()) for flip, outcome in tried],
    }


def _trial(flip: Flip, outcome: dict[str, Any]) -> dict[str, Any]:
    """Return one trial for the record; of many bits at once only how many there were."""
    told = {k: v for k, v in asdict(flip).items() if k != "places"}
    first = flip.places[0] if len(flip.places) == 1 else None
    return {**told, "flips": len(flip.places), "place": first, **outcome}


def _progress(label: str, total: int) -> Callable[[int], None]:
    """Return what shows how far it is, where somebody looks."""

    def told(done: int) -> None:
        if sys.stderr.isatty() and (done % 10 == 0 or done == total):
            print(f"\r{label}: {done} of {total}", end="\n" * (done == total), file=sys.stderr)

    return told


def _table(found: list[dict[str, Any]]) -> str:
    """Return one line a network, of single flips over all weights."""
    head = f"{'network':32s} {'flips':>6s}  {'numbers':>8s}  {'answer changed':>22s}"
    lines = [f"{head}  {'silent':>22s}  {'golden':>7s}  {'checksum':>8s}"]
    for one in found:
        rates, defences = one["overall"], one["defences"]
        golden = defences["golden images"]["of_harmful"]["share"]
        scrub = defences["checksums of the source"]["of_all"]["share"]
        lines.append(
            f"{one['bundle'] + ' ' + one['variant']:32s} {rates['silent']['of']:6d}  "
            f"{100 * rates['numbers_changed']['share']:6.1f} %  "
            f"{_interval(rates['answer_changed']):>22s}  {_interval(rates['silent']):>22s}  "
            f"{'-' if golden is None else f'{100 * golden:.0f} %':>7s}  {100 * scrub:6.0f} %"
        )
    return "\n".join(lines)


def _interval(one: dict[str, Any]) -> str:
    return f"{100 * one['share']:.2f} % [{100 * one['low']:.2f}, {100 * one['high']:.2f}]"
