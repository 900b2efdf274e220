"""A Keras model as an engine of the runtime, so that validation runs the code that flies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from rille.bundle.manifest import Contract, OutputEntry, Variant
from rille.network import Network
from rille.tensor import TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray


class KerasBackend:
    """Runs float32 inputs through a Keras model; see `rille.backends.Backend`."""

    def __init__(self, model: Any) -> None:
        self.name = f"keras {keras.__version__} ({keras.backend.backend()})"
        self.threads = 0
        self._model = model

    def infer(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Run one (1, h, w, c) input; see `rille.backends.Backend.infer`."""
        outputs = self._model.predict_on_batch(tensor)
        return {role: np.asarray(values, np.float32) for role, values in outputs.items()}

    def close(self) -> None:
        """Let go of the model."""
        self._model = None


def keras_network(model: Any, contract: Contract) -> Network:
    """Return a Keras model as a `rille.network.Network`, in float32.

    Args:
        model: a float32 model with a dict of outputs by role.
        contract: its preprocessing, labels and thresholds.
    """
    outputs = {
        role: OutputEntry(index=index, tensor=TensorSpec(shape=(1, *output.shape[1:])))
        for index, (role, output) in enumerate(model.output.items())
    }
    variant = Variant(
        file="model.keras",
        target="keras",
        precision="fp32",
        input=TensorSpec(shape=(1, *model.input_shape[1:])),
        outputs=outputs,
    )
    return Network(contract, variant, KerasBackend(model))
