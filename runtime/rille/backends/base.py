"""The contract of an inference engine, and how one is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from rille.errors import BackendUnavailableError
from rille.registry import Registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.bundle.manifest import Variant

BACKENDS = Registry(
    kind="backend",
    group="rille.backends",
    known={
        "litert": "rille.backends.litert:LiteRtBackend",
        "litert-plain": "rille.backends.litert:PlainLiteRtBackend",
        "litert-exact": "rille.backends.litert:ExactLiteRtBackend",
        "onnxruntime": "rille.backends.ort:OnnxRuntimeBackend",
        "tensorrt": "rille.backends.tensorrt:TensorRtBackend",
    },
)
_USUAL = {"tflite": "litert", "onnx": "onnxruntime"}
_RUNS = {
    **dict.fromkeys(("litert", "litert-plain", "litert-exact"), "tflite"),
    **dict.fromkeys(("onnxruntime", "tensorrt"), "onnx"),
}


class Backend(Protocol):
    """One network loaded into one engine.

    Attributes:
        name: the engine and its version, as it goes into records ("litert 2.3.0").
        threads: threads one inference uses.
    """

    name: str
    threads: int

    def infer(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Run one input through the network.

        Args:
            tensor: in the shape and type of the variant's input.

        Returns:
            Role -> stored numbers, as the variant's outputs say. The arrays are fresh.

        Raises:
            InferenceError: the engine failed.
        """
        ...

    def close(self) -> None:
        """Free the network; it cannot be used afterwards."""
        ...


def open_backend(model: bytes, variant: Variant, *, name: str = "", threads: int) -> Backend:
    """Load verified model bytes into an engine.

    Args:
        model: the content of the variant's file.
        variant: what the manifest says of it.
        name: which engine; an entry point of the group `rille.backends` adds one. Empty for the one
            that runs the variant's file format here.
        threads: threads for one inference, at least 1.

    Raises:
        BackendUnavailableError: no such engine, or not usable here.
        ManifestError: the model is not what the manifest says.
    """
    name = name or _USUAL[variant.target]
    if target_of(name) not in (None, variant.target):
        fit = " and ".join(own for own, target in _RUNS.items() if target == variant.target)
        raise BackendUnavailableError(
            f"{name} cannot run {variant.file}: {variant.target} networks run on {fit}; choose "
            "another variant, or leave the backend out"
        )
    backend: Backend = BACKENDS.resolve(name, BackendUnavailableError)(model, variant, threads)
    return backend


def target_of(name: str) -> str | None:
    """Return the file format that an engine runs; None where it is not known beforehand."""
    return _RUNS.get(name)
