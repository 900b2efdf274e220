"""LiteRT (formerly TensorFlow Lite) with XNNPACK: the default engine on every CPU.

`tflite-runtime`, its predecessor, is accepted where `ai-edge-litert` is absent, with a warning: on
x86-64 it is 25 to 40 times slower on the same network, and under NumPy 2 it fails when an
interpreter is constructed, not when it is imported.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.errors import BackendUnavailableError, InferenceError, ManifestError
from rille.registry import package_version
from rille.tensor import TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.backends.rearrange import Rearranger
    from rille.bundle.manifest import Variant

_HOW = 'install it with: pip install "ai-edge-litert>=2.1"'


class LiteRtBackend:
    """A `.tflite` network in a LiteRT interpreter; see `rille.backends.Backend`.

    The interpreter is built from the bytes given, never from a path: a mapped file can change
    underneath it. Its steps are rearranged first, see `rille.backends.rearrange`.

    Args:
        model: content of the `.tflite` file, already verified.
        variant: what the manifest says of it; checked against the interpreter.
        threads: XNNPACK threads, at least 1.

    Raises:
        BackendUnavailableError: no interpreter is installed, or it cannot be constructed.
        ManifestError: the bytes are no network, or not the one described.
    """

    exact = False
    """Whether every machine gives the same bits; preprocessing then sees to that as well."""
    rebuilds_aside = True
    """Whether a second one may be built beside it, in another thread, to take its place."""
    as_it_is = False
    """Whether the steps are those of the file."""

    def __init__(self, model: bytes, variant: Variant, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self.threads = threads
        self.name, interpreter = _construct(model, variant, threads, self)
        try:
            interpreter.allocate_tensors()
            inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        except (RuntimeError, ValueError) as wrong:  # also a tensor's name that is no text
            raise ManifestError(f"{variant.file}: the network cannot be set up ({wrong})") from None
        if len(inputs) != 1:
            raise ManifestError(f"{variant.file}: takes {len(inputs)} inputs, one is supported")
        _agree(f"{variant.file}: input", variant.input, inputs[0])
        self._outputs = {}
        for role, entry in variant.outputs.items():
            if not 0 <= entry.index < len(outputs):
                raise ManifestError(f"{variant.file}: has no output {entry.index} ({role})")
            _agree(f"{variant.file}: output {role}", entry.tensor, outputs[entry.index])
            self._outputs[role] = outputs[entry.index]["index"]
        self._input = inputs[0]["index"]
        self._interpreter: Any = interpreter

    def infer(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Run one input through the network; see `rille.backends.Backend.infer`."""
        try:
            self._interpreter.set_tensor(self._input, tensor)
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as wrong:
            raise InferenceError(f"{self.name}: inference failed ({wrong})") from None
        return {role: self._interpreter.get_tensor(at) for role, at in self._outputs.items()}

    def close(self) -> None:
        """Free the interpreter."""
        self._interpreter = None


class PlainLiteRtBackend(LiteRtBackend):
    """The same with the steps of the file, as other programs run it: the same answers, slower."""

    as_it_is = True


class ExactLiteRtBackend(PlainLiteRtBackend):
    """The same with the reference kernels: every machine and thread count gives the same bits.

    The kernels are plain loops, some 30 to 50 times slower than XNNPACK's: for replays and proofs.
    They round in another way than XNNPACK's. Over the golden images of four bundles that come
    with rille, single numbers came out up to 30 steps apart and means up to 2.5, so golden images
    are judged by the mean.
    """

    exact = True
    rebuilds_aside = False  # works on the bundle's own bytes, and golden images take it seconds


def _construct(model: bytes, variant: Variant, threads: int, how: LiteRtBackend) -> tuple[str, Any]:
    """Construct an interpreter; importing alone proves nothing (see the module's description)."""
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        package = "ai-edge-litert"
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter, OpResolverType
        except ImportError:
            raise BackendUnavailableError(f"no LiteRT interpreter is installed; {_HOW}") from None
        package = "tflite-runtime"
        warnings.warn(
            f"ai-edge-litert is not installed, using the far slower tflite-runtime; {_HOW}",
            RuntimeWarning,
            stacklevel=3,
        )
    kernels = {"experimental_op_resolver_type": OpResolverType.BUILTIN_REF} if how.exact else {}

    def build(content: bytes) -> Any:
        return Interpreter(model_content=content, num_threads=threads, **kernels)

    try:
        interpreter = build(model)
    except SystemError as wrong:
        raise BackendUnavailableError(
            f"{package} cannot run with NumPy {np.__version__} ({wrong}); {_HOW}"
        ) from None
    except (RuntimeError, ValueError) as wrong:
        raise ManifestError(f"not a network that {package} can read ({wrong})") from None
    if package == "ai-edge-litert" and not how.as_it_is:
        # Not before LiteRT has looked the file over.
        interpreter = _quicker(model, variant.file, build) or interpreter
    words = " exact" * how.exact or " plain" * how.as_it_is
    return f"{package} {package_version(package)}{words}", interpreter


@functools.cache
def _rearranger() -> Rearranger:
    from rille.backends.rearrange import Rearranger

    return Rearranger()


def _quicker(model: bytes, file: str, build: Callable[[bytes], Any]) -> Any:
    """Return an interpreter of a network rearranged; None if that is the network as it is.

    Where it cannot be done it is None, with a warning.
    """
    try:
        quicker = _rearranger()(model)
        if quicker is model:
            return None
        interpreter = build(quicker)
        interpreter.allocate_tensors()
    except Exception as wrong:  # whatever is strange about it: it runs as it is
        warnings.warn(
            f"{file}: its steps cannot be rearranged ({type(wrong).__name__}: {wrong}); it runs "
            "as it is, slower",
            RuntimeWarning,
            stacklevel=4,
        )
        return None
    return interpreter


def describe(details: dict[str, Any]) -> TensorSpec:
    """Return an interpreter's tensor details as a `TensorSpec`."""
    scale, zero_point = details["quantization"]
    dtype = np.dtype(details["dtype"]).name
    return TensorSpec(
        shape=tuple(int(n) for n in details["shape"]),
        dtype=dtype,
        scale=float(scale) if dtype != "float32" else 1.0,
        zero_point=int(zero_point) if dtype != "float32" else 0,
    )


def _agree(what: str, stated: TensorSpec, details: dict[str, Any]) -> None:
    """Refuse a network whose tensor is not what the manifest states."""
    found = describe(details)
    same = (found.shape, found.dtype, found.zero_point) == (
        stated.shape,
        stated.dtype,
        stated.zero_point,
    )
    if not same or not np.isclose(found.scale, stated.scale, rtol=1e-6):
        raise ManifestError(
            f"{what} is {found.to_json()}, its manifest states {stated.to_json()}; "
            "export the bundle again"
        )
