"""The plain script over ONNX Runtime, on the processor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from benchmarks.peers.peer import Workload
from benchmarks.peers.script import Engine, Script, variant_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.bundle import Bundle
    from rille.bundle.manifest import Variant


class OnnxRuntime(Script):
    """The plain script over ONNX Runtime."""

    needs = ("onnxruntime",)
    install = "pip install --group peers"

    def __init__(self, workload: Workload, threads: int) -> None:
        import onnxruntime

        super().__init__(workload, threads)
        self.versions = {"onnxruntime": onnxruntime.__version__, "opencv": cv2.__version__}

    def variant(self, bundle: Bundle) -> Variant:
        """Return the ONNX form, float before others: it runs our int8 in float, and rounds."""
        return variant_of(bundle, "onnx", ("fp32", "int8", "fp16"))

    def engine(self, bundle: Bundle, variant: Variant, threads: int) -> Engine:
        """Load a network into a session."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(
            bundle.files[variant.file], options, providers=["CPUExecutionProvider"]
        )
        name = session.get_inputs()[0].name
        outputs = session.get_outputs()
        names = {role: outputs[entry.index].name for role, entry in variant.outputs.items()}

        def run(tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
            found = session.run(list(names.values()), {name: tensor})
            return dict(zip(names, map(np.asarray, found), strict=True))

        return run
