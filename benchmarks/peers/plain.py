"""OpenCV and the LiteRT interpreter, as in most tutorials: the loop rille is held against."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import cv2
from ai_edge_litert.interpreter import Interpreter

from benchmarks.peers.peer import Workload
from benchmarks.peers.script import Engine, Script, variant_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.bundle import Bundle
    from rille.bundle.manifest import Variant


class PlainLoop(Script):
    """The plain script over LiteRT, shrinking as carefully as the bundle asks for."""

    def __init__(self, workload: Workload, threads: int) -> None:
        super().__init__(workload, threads)
        self.versions = {"ai-edge-litert": version("ai-edge-litert"), "opencv": cv2.__version__}

    def variant(self, bundle: Bundle) -> Variant:
        """Return the int8 TFLite form."""
        return variant_of(bundle, "tflite", ("int8", "fp32"))

    def engine(self, bundle: Bundle, variant: Variant, threads: int) -> Engine:
        """Load a network into an interpreter."""
        content = bundle.files[variant.file]
        interpreter = Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
        place = interpreter.get_input_details()[0]["index"]
        details = interpreter.get_output_details()
        places = {role: details[e.index]["index"] for role, e in variant.outputs.items()}

        def run(tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
            interpreter.set_tensor(place, tensor)
            interpreter.invoke()
            return {role: interpreter.get_tensor(at) for role, at in places.items()}

        return run


class CarelessLoop(PlainLoop):
    """The same with `cv2.resize` as it comes: what most people write."""

    careless = True
