"""`rille explain`: pictures of where a trained network looked, and of what its layers answer."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from rille.bundle.manifest import Contract
from rille.files import sink_error, write_whole
from rille.images import list_images, read_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def main(arguments: list[str]) -> int:
    """Run `rille explain`; see `rille explain --help`.

    Returns:
        The exit code: 0 when every picture is written.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    options = _parser().parse_args(arguments)
    from rille_train.explain import load_run

    model, contract = load_run(options.run)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as wrong:
        raise sink_error(options.out, wrong) from None
    paths = [
        p for given in options.image for p in (list_images(given) if given.is_dir() else [given])
    ]
    if contract.task == "classification":
        _heat(model, contract, paths, options)
    if contract.task != "classification" or options.features:
        _features(model, contract, paths, options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rille explain",
        description="Show where a trained classifier looked (Grad-CAM), and what the layers of any "
        "network make of an image. A hot place spoke for the class; it is no proof of a reason.",
        epilog="The environment variable KERAS_BACKEND chooses tensorflow, jax or torch.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished training run")
    parser.add_argument(
        "image", type=Path, nargs="+", metavar="IMAGE", help="image file, or folder of them"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the pictures")
    parser.add_argument(
        "--label", default="", metavar="NAME", help="class to ask about (default: the answer)"
    )
    parser.add_argument("--layer", default="", metavar="NAME", help="layer to look at")
    parser.add_argument(
        "--features",
        action="store_true",
        help="also write sheets of feature maps (always done for networks without classes)",
    )
    return parser


def _heat(model: Any, contract: Contract, paths: Sequence[Path], options: Any) -> None:
    from rille_train.explain import GradCam, overlay

    explain = GradCam(model, contract, options.layer)
    for k, path in enumerate(paths):
        image = read_image(path)
        found = explain(image, options.label)
        asked = "" if found.label == found.answer else f", answer {found.answer}"
        out = options.out / f"{k:02d}-{path.stem}-cam.png"
        _write(out, overlay(image, found.heat))
        print(f"{out}: {found.label} {found.probability:.3f}{asked}, layer {explain.layer}")


def _features(model: Any, contract: Contract, paths: Sequence[Path], options: Any) -> None:
    from rille_train.explain import contact_sheet, feature_maps

    layers = [options.layer] if options.layer else []
    for k, path in enumerate(paths):
        for step, (name, maps) in enumerate(
            feature_maps(model, contract, read_image(path), layers).items()
        ):
            safe = re.sub(r"[^\w.-]", "_", name)
            out = options.out / f"{k:02d}-{path.stem}-maps{step:02d}-{safe}.png"
            _write(out, contact_sheet(maps))
            print(f"{out}: {maps.shape[2]} maps of {maps.shape[1]} x {maps.shape[0]}")


def _write(path: Path, picture: NDArray[np.uint8]) -> None:
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done
    write_whole(path, data.tobytes())
