"""`rille engine`: build TensorRT engines on the device that will run them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rille.backends.engines import EngineStore
from rille.backends.tensorrt import BuildOptions, TensorRtBackend
from rille.bundle import Bundle, load_bundle, read_public_key
from rille.errors import BundleError, ConfigError
from rille.latency import spent_ms
from rille.network import Network

_RUNS = 100


def main(arguments: list[str]) -> int:
    """Run `rille engine`; see `rille engine --help`.

    Returns:
        The exit code: 0 where every engine asked for is ready and gives the golden answers.
    """
    options = _parser().parse_args(arguments)
    if options.workspace_mib < 1:
        raise ConfigError(f"--workspace-mib must be at least 1, not {options.workspace_mib}")
    bundle = load_bundle(options.bundle, [read_public_key(key) for key in options.key])
    how = BuildOptions(
        store=EngineStore(options.folder), workspace_mib=options.workspace_mib, fresh=options.fresh
    )
    for name in _chosen(bundle, options.variant):
        _build(bundle, name, how)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rille engine", description="Work on TensorRT engines.")
    verbs = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    build = verbs.add_parser(
        "build",
        help="build the engines of a bundle on this device, check and time them",
        description="Build the engines of a bundle's ONNX networks on this device. Each is kept "
        "under the network's digest, the version of TensorRT and the GPU's compute capability; "
        "`rille run --set engine.backend=tensorrt` finds it there.",
    )
    build.add_argument("bundle", help="name of a shipped bundle, or path of a folder or zip")
    build.add_argument(
        "--variant",
        action="append",
        metavar="NAME",
        help="which network of the bundle (default: every ONNX one); may be repeated",
    )
    build.add_argument(
        "--workspace-mib",
        type=int,
        default=1024,
        metavar="N",
        help="most memory of the device a kernel may use besides its tensors (default: 1024)",
    )
    build.add_argument(
        "--fresh", action="store_true", help="build anew also where a kept engine would do"
    )
    build.add_argument(
        "--folder", type=Path, help="where engines are kept (default: $RILLE_ENGINES or the cache)"
    )
    build.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="KEY",
        help="accept only what this public key signed (digits or a file); may be repeated",
    )
    return parser


def _chosen(bundle: Bundle, names: Sequence[str] | None) -> list[str]:
    """Return the ONNX variants to build engines of."""
    if not names:
        bundle.variant(None, "onnx")  # says what is missing where there is none
        return [k for k, v in bundle.manifest.variants.items() if v.target == "onnx"]
    for name in names:
        if bundle.variant(name)[1].target != "onnx":
            raise BundleError(f"{bundle.where}: {name} is no ONNX network; engines need one")
    return list(names)


def _build(bundle: Bundle, name: str, how: BuildOptions) -> None:
    """Make one engine ready, compare its golden answers and time it."""
    _, variant = bundle.variant(name)
    backend = TensorRtBackend(bundle.files[variant.file], variant, 1, how)
    network = Network(bundle.manifest, variant, backend, bundle)
    gap = network.self_test()
    tensor = np.zeros(variant.input.shape, variant.input.numpy_dtype)
    middle = float(np.median(spent_ms(lambda _: backend.infer(tensor), _RUNS, _RUNS // 4)))
    network.close()
    print(
        f"{name:12s} {backend.name}: golden answers within {gap:.3g} of "
        f"{bundle.manifest.golden_tolerance}, about {middle:.2f} ms an inference"
    )
