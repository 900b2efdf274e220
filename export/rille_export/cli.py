"""`rille export`: a run folder or a finished bundle in, a verified bundle out."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from rille.bundle import Bundle
    from rille_export.parity import Parity

Made: TypeAlias = "tuple[Bundle, dict[str, Parity]]"


def main(arguments: list[str]) -> int:
    """Run `rille export`; see `rille export --help`.

    Returns:
        The exit code: 0 when the bundle is written and the parity check holds.
    """
    # TensorFlow's start-up chatter would bury the report.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.calibration_images < 1:
        parser.error("--calibration-images must be at least 1")
    if options.tune is not None and options.tune < 0:
        parser.error("--tune must be at least 0")
    finished = _is_bundle(options.run)
    bundle, parity = _added(options, parser) if finished else _exported(options)
    for form, comparison in parity.items():
        print(f"{form}, {len(bundle.files[bundle.manifest.variants[form].file]) / 1e6:.2f} MB")
        print(comparison.table())
    size = sum(map(len, bundle.files.values())) / 1e6
    sys.stderr.write(f"wrote {bundle.where} ({size:.2f} MB), digest {bundle.digest}\n")
    return 0


def _is_bundle(path: Path) -> bool:
    """Return whether this is a bundle: a folder, an archive, or the name of a shipped one."""
    from rille.bundle import shipped_bundles
    from rille.bundle.load import MANIFEST

    if path.exists():
        return path.suffix == ".zip" or (path / MANIFEST).is_file()
    return str(path) in shipped_bundles()


def _exported(options: argparse.Namespace) -> Made:
    """Export a training run, or a network from elsewhere."""
    from rille.bundle import load_bundle
    from rille_export.assemble import ExportOptions, default_say, export

    source = load_bundle(options.decision_from) if options.decision_from else None
    return export(
        options.run,
        options.data,
        options.out or _beside(options),
        ExportOptions(
            calibration_images=options.calibration_images,
            targets=tuple(options.targets or ("tflite-int8",)),
            force=options.force,
            tune_steps=options.tune,
            allow_float=tuple(options.allow_float),
            decision_from=source,
            contract=options.contract,
            extra=tuple(options.extra),
        ),
        default_say,
    )


def _added(options: argparse.Namespace, parser: argparse.ArgumentParser) -> Made:
    """Add forms to a finished bundle."""
    from rille.bundle import load_bundle
    from rille_export.add_forms import add_forms
    from rille_export.assemble import default_say

    for word, given in (
        ("--contract", options.contract),
        ("--tune", options.tune),
        ("--allow-float", options.allow_float),
        ("--decision-from", options.decision_from),
    ):
        if given:
            parser.error(f"{word} is for a trained network; {options.run} is a finished bundle")
    if not options.targets:
        parser.error(f"{options.run} is a finished bundle: name what to add, as --target tensorrt")
    return add_forms(
        load_bundle(str(options.run)),
        options.data,
        options.out or Path(f"{Path(options.run).name}-onnx"),
        options.targets,
        calibration_images=options.calibration_images,
        force=options.force,
        say=default_say,
    )


def _beside(options: argparse.Namespace) -> Path:
    run: Path = options.run
    return run / "bundle" if options.contract is None else run.with_name(f"{run.stem}-bundle")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rille export",
        description="Quantise a trained network, check it against its float form, write a bundle.",
    )
    parser.add_argument(
        "run",
        type=Path,
        help="folder of a finished `rille train`; with --contract a .keras file or a SavedModel; "
        "or a finished bundle that --target adds forms to",
    )
    parser.add_argument(
        "--contract",
        type=Path,
        metavar="TOML",
        help="what a network from elsewhere is for: task, labels, preprocessing, splits",
    )
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT", help="data set folder")
    parser.add_argument(
        "--extra",
        type=Path,
        action="append",
        default=[],
        metavar="ROOT",
        help="further data set that it was trained on, so that the out-of-distribution score knows "
        "its images; may be repeated",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="bundle folder (default: RUN/bundle, MODEL-bundle)"
    )
    parser.add_argument("--calibration-images", type=int, default=240, metavar="N")
    parser.add_argument(
        "--target",
        action="append",
        dest="targets",
        metavar="FORM",
        help="what the bundle shall carry (default: tflite-int8); may be repeated: tflite-fp32, "
        "tflite-fp16, tflite-int8, tflite-int16x8, onnx-fp32, onnx-fp16, onnx-int8; tensorrt for "
        "the two ONNX forms that an engine is built from",
    )
    parser.add_argument(
        "--force", action="store_true", help="write the bundle even if int8 loses too much"
    )
    _add_conversion(parser)
    return parser


def _add_conversion(parser: argparse.ArgumentParser) -> None:
    """Add how a trained network becomes integers, and who decides its thresholds."""
    parser.add_argument(
        "--tune",
        type=int,
        metavar="STEPS",
        help="tune biases so that int8 answers as float does; 0 never (default: where int8 loses "
        "too much without)",
    )
    parser.add_argument(
        "--allow-float",
        action="append",
        default=[],
        metavar="OP",
        help="let this operation work on floats in an integer form (GREATER); may be repeated",
    )
    parser.add_argument(
        "--decision-from",
        metavar="BUNDLE",
        help="take temperature, thresholds and offsets from this bundle instead of fitting them, "
        "for a network that was trained on the validation split too",
    )
