"""`rille doctor`: what this machine can do, measured, and a go or no-go."""

from __future__ import annotations

import argparse
import platform
import sys

import cv2
import numpy as np

import rille
from rille.backends.cuda import open_cuda
from rille.backends.tensorrt import import_tensorrt
from rille.bench import rendered
from rille.board import Board, look_at_board, processor, usable_cores
from rille.bundle import load_bundle, shipped_bundles
from rille.busy import BUSY, OtherWork
from rille.cli.board_check import (
    container_facts,
    missing_tools,
    strain_facts,
    strain_troubles,
)
from rille.config import RunConfig
from rille.errors import RilleError
from rille.kernels import library
from rille.latency import spent_ms
from rille.network import Network
from rille.plan import default_threads, fastest, measure_plans, remember
from rille.registry import package_version
from rille.strain import Strain, read_strain

_RUNS = 30


def main(arguments: list[str]) -> int:
    """Run `rille doctor`; see `rille doctor --help`."""
    parser = argparse.ArgumentParser(
        prog="rille doctor",
        description="Check versions and bundles, run each network's self-test and measure it. "
        "Exit code 0: go; 1: no-go.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="check everything all the same, but measure nothing"
    )
    options = parser.parse_args(arguments)
    board, strain = look_at_board(), read_strain()
    for name, value in _facts(board, strain):
        print(f"{name:12s} {value}")
    for advice in missing_tools(board):
        print(f"note: {advice}", file=sys.stderr)
    troubles = [*_check_python(), *strain_troubles(strain)]
    pixels = None if options.quick else rendered(640, 480)[0]
    for name in shipped_bundles():
        trouble = _check_bundle(name, pixels)
        if trouble:
            troubles.append(trouble)
    if not troubles and not options.quick:
        _measure_plans()
    if not shipped_bundles():
        troubles.append("no bundles are installed with rille: reinstall it")
    for trouble in troubles:
        print(f"mend: {trouble}", file=sys.stderr)
    print("NO-GO" if troubles else "GO")
    return 1 if troubles else 0


def _facts(board: Board, strain: Strain) -> list[tuple[str, str]]:
    cameras = [f"{uri} ({name})" for uri, name in board.cameras]
    cameras += [f"{scheme}:// by {tool}" for scheme, tool in board.tools.items()]
    known = [word for word in (board.model, board.jetpack and f"L4T {board.jetpack}") if word]
    return [
        ("rille", rille.__version__),
        ("board", ", ".join([*known, processor(), f"{usable_cores()} usable cores"])),
        *strain_facts(strain),
        *container_facts(board),
        ("cameras", ", ".join(cameras) or "none found"),
        ("system", f"{_system()}, kernel {platform.release()}, {platform.machine()}"),
        ("python", platform.python_version()),
        ("numpy", np.__version__),
        ("opencv", f"{cv2.__version__}, video files {'yes' if _has_ffmpeg() else 'NO'}"),
        ("kernels", _kernels()),
        ("litert", package_version("ai-edge-litert")),
        ("onnxruntime", package_version("onnxruntime")),
        ("tensorrt", _tensorrt()),
        ("pyav", f"{package_version('av')} (RTSP cameras, transport streams)"),
        (
            "tflite",
            f"{package_version('tflite-runtime')} (older interpreter; only used without litert)",
        ),
    ]


def _kernels() -> str:
    """Return which of rille's own kernels are used here, or why none can be."""
    try:
        library.load()
        return f"compiled for {library.kind_here()}"
    except RilleError as wrong:
        return str(wrong).partition(";")[0]


def _tensorrt() -> str:
    """Return which TensorRT can be used here, or why none can, in a few words."""
    try:
        version = import_tensorrt().__version__
        cuda = open_cuda()
    except RilleError as wrong:
        return str(wrong).partition(";")[0]
    found = f"{version} on sm{cuda.capability}, {cuda.name}"
    cuda.close()
    return found


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _has_ffmpeg() -> bool:
    return cv2.CAP_FFMPEG in cv2.videoio_registry.getBackends()


def _check_python() -> list[str]:
    if package_version("ai-edge-litert") == "not installed":
        return ['ai-edge-litert is not installed: pip install "ai-edge-litert>=2.1"']
    try:
        library.load()
    except RilleError as wrong:
        return [str(wrong)]
    return []


def _check_bundle(
    name: str, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None
) -> str | None:
    """Verify and self-test one bundle, and time it if there is a picture; return what is wrong."""
    try:
        bundle = load_bundle(name)
        network = Network.load(bundle, threads=default_threads())
        gap = network.self_test()
    except RilleError as wrong:
        print(f"bundle       {name}: FAILED")
        return str(wrong)
    told = (
        f"bundle       {name} {bundle.manifest.version}: verified, self-test within {gap:g} steps"
    )
    if pixels is not None:
        spent = spent_ms(lambda _: network.run(pixels), _RUNS)
        told += f", 640 x 480 frame p50 {np.median(spent):.2f} ms"
    print(f"{told} on {network.backend.name}, {network.backend.threads} thread(s)")
    network.close()
    return None


def _measure_plans() -> None:
    """Measure how the networks of a default run best share the cores, and keep it for later."""
    defaults = RunConfig()
    bundles = {
        "classify": load_bundle(defaults.classify.bundle),
        "segment": load_bundle(defaults.segment.bundle),
    }
    others = OtherWork()
    timed = measure_plans(bundles)
    best, share = fastest(timed), others.share()
    remember(bundles, best, others=share)
    for one in timed:
        chosen = "  <- used" if one.plan == best else ""
        print(f"both         {one.plan}: p50 {one.p50_ms:.1f}, p90 {one.p90_ms:.1f} ms{chosen}")
    if share is not None and share > BUSY:
        print(
            f"busy         other processes took {share:.0%} of the processors meanwhile: run "
            "rille doctor again once they are idle"
        )
