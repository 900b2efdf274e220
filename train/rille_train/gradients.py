"""The one place that knows how each Keras backend differentiates."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from rille.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def gradient(function: Callable[[Any], Any], point: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the gradient of a scalar function made of Keras operations.

    Args:
        function: from a tensor of the backend to a tensor of one number.
        point: where; any shape.

    Returns:
        An array of the shape of `point`.

    Raises:
        ConfigError: the Keras backend in use has no gradients (or none that are known here).
    """
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax", "torch"):
        raise ConfigError(
            f"KERAS_BACKEND={backend}: gradients need tensorflow, jax or torch; set the variable"
        )
    framework: Any = importlib.import_module(backend)
    tensor: Any = keras.ops.convert_to_tensor(point, "float32")
    if backend == "tensorflow":
        with framework.GradientTape() as tape:
            tape.watch(tensor)
            value = function(tensor)
        slope = tape.gradient(value, tensor)
    elif backend == "jax":
        slope = framework.grad(function)(tensor)
    else:
        tensor = tensor.detach().clone().requires_grad_(True)
        (slope,) = framework.autograd.grad(function(tensor), tensor)
    return np.asarray(keras.ops.convert_to_numpy(slope), np.float32)
