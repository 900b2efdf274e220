"""ONNX Runtime: the reference for a bundle's ONNX variants, on a processor.

On the networks that come with rille LiteRT is several times faster; this engine is here to check
what TensorRT will be given, and for machines whose only engine it is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.errors import BackendUnavailableError, InferenceError, ManifestError
from rille.tensor import TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.bundle.manifest import Variant

_TYPES = {
    "tensor(float)": "float32",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int16)": "int16",
}


class OnnxRuntimeBackend:
    """An ONNX network in an ONNX Runtime session; see `rille.backends.Backend`.

    Args:
        model: content of the `.onnx` file, already verified.
        variant: what the manifest says of it; checked against the session.
        threads: threads of one inference, at least 1.

    Raises:
        BackendUnavailableError: ONNX Runtime is not installed.
        ManifestError: the bytes are no network, or not the one described.
    """

    rebuilds_aside = True

    def __init__(self, model: bytes, variant: Variant, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        try:
            runtime: Any = importlib.import_module("onnxruntime")
        except ImportError as wrong:
            raise BackendUnavailableError(
                f'ONNX Runtime cannot be used ({wrong}); install it with: pip install "rille[onnx]"'
            ) from None
        self.threads = threads
        self.name = f"onnxruntime {runtime.__version__}"
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        try:
            self._session: Any = runtime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as wrong:  # its exceptions share no base class of their own
            reason = str(wrong).strip().splitlines()[0][:160]
            raise ManifestError(f"{variant.file}: not an ONNX network ({reason})") from None
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1:
            raise ManifestError(f"{variant.file}: takes {len(inputs)} inputs, one is supported")
        _agree(f"{variant.file}: input", variant.input, inputs[0])
        self._input, self._outputs = inputs[0].name, dict[str, str]()
        for role, entry in variant.outputs.items():
            if not 0 <= entry.index < len(outputs):
                raise ManifestError(f"{variant.file}: has no output {entry.index} ({role})")
            _agree(f"{variant.file}: output {role}", entry.tensor, outputs[entry.index])
            self._outputs[role] = outputs[entry.index].name

    def infer(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Run one input through the network; see `rille.backends.Backend.infer`."""
        try:
            answers = self._session.run(list(self._outputs.values()), {self._input: tensor})
        except Exception as wrong:  # see above
            reason = str(wrong).strip().splitlines()[0][:160]
            raise InferenceError(f"{self.name}: inference failed ({reason})") from None
        return dict(zip(self._outputs, map(np.asarray, answers), strict=True))

    def close(self) -> None:
        """Free the session."""
        self._session = None


def describe(node: Any) -> TensorSpec:
    """Return an input or output of a session as a `TensorSpec`.

    Raises:
        ManifestError: a type or shape that rille does not handle.
    """
    if node.type not in _TYPES or not all(isinstance(n, int) for n in node.shape):
        raise ManifestError(f"{node.name}: {node.type} of shape {node.shape} is not supported")
    return TensorSpec(shape=tuple(node.shape), dtype=_TYPES[node.type])


def _agree(what: str, stated: TensorSpec, node: Any) -> None:
    found = describe(node)
    if (found.shape, found.dtype) != (stated.shape, stated.dtype):
        raise ManifestError(
            f"{what} is {found.dtype} {list(found.shape)}, its manifest states {stated.dtype} "
            f"{list(stated.shape)}; export the bundle again"
        )
