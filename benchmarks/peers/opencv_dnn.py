"""The plain script over OpenCV's own engine, which reads networks of floats alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from benchmarks.peers.peer import PeerRefusedError, Workload
from benchmarks.peers.script import Engine, Script, variant_of
from rille.bundle.manifest import FEATURES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rille.bundle import Bundle
    from rille.bundle.manifest import Variant


class OpenCvDnn(Script):
    """The plain script over `cv2.dnn`."""

    def __init__(self, workload: Workload, threads: int) -> None:
        super().__init__(workload, threads)
        if threads:
            cv2.setNumThreads(threads)
        self.versions = {"opencv": cv2.__version__}

    def variant(self, bundle: Bundle) -> Variant:
        """Return the float TFLite form."""
        return variant_of(bundle, "tflite", ("fp32",))

    def engine(self, bundle: Bundle, variant: Variant, threads: int) -> Engine:
        """Load a network.

        Raises:
            PeerRefusedError: OpenCV cannot read it.
        """
        try:
            net = cv2.dnn.readNetFromTFLite(np.frombuffer(bundle.files[variant.file], np.uint8))
        except cv2.error as wrong:
            raise PeerRefusedError(str(wrong.err or wrong)) from None
        names = net.getUnconnectedOutLayersNames()

        def run(tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
            net.setInput(np.ascontiguousarray(tensor.transpose(0, 3, 1, 2)))
            found = net.forward(names)
            return {
                role: _as_stated(found, entry.tensor.shape)
                for role, entry in variant.outputs.items()
                if role != FEATURES  # the engine leaves out what no last layer gives
            }

        return run


def _as_stated(found: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the output of a shape, channels last: OpenCV puts them first and has its own order.

    Raises:
        PeerRefusedError: none has it, or several have.
    """
    first = (shape[0], shape[-1], *shape[1:-1])
    fitting = [one for one in map(np.asarray, found) if one.shape == first]
    if len(fitting) != 1:
        shapes = [list(np.asarray(one).shape) for one in found]
        raise PeerRefusedError(f"gives outputs of shapes {shapes}, needed is one of {list(first)}")
    return fitting[0].transpose(0, 2, 3, 1) if len(shape) == 4 else fitting[0]
