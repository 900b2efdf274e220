"""A network without networks inside it, so that every layer has its real neighbours."""

from __future__ import annotations

from typing import Any

import keras


def flattened(model: Any) -> Any:
    """Return the same network on one level; networks of `keras.applications` come nested.

    Args:
        model: Keras model from one input to a dict of outputs.

    Returns:
        A copy with weights of its own, run as in inference; the model itself where nothing in it
        is nested.
    """
    if not any(isinstance(layer, keras.Model) for layer in model.layers):
        return model
    copies: list[tuple[Any, Any]] = []

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(operation, keras.Model):
            return operation._run_through_graph(args[0], call_fn=call)
        if not isinstance(operation, keras.layers.Layer):
            return operation(*args, **kwargs)
        copy = operation.__class__.from_config(operation.get_config())
        copies.append((operation, copy))
        kwargs.pop("training", None)
        return copy(*args, **kwargs)

    flat = keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)
    for original, copy in copies:
        copy.set_weights(original.get_weights())
        if isinstance(copy, keras.layers.Normalization):
            copy.finalize_state()  # it computes with a copy of its weights
    return flat
