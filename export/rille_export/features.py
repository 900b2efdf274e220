"""The features of a classifier, what its logits are made from, as a further output."""

from __future__ import annotations

from typing import Any

import keras

from rille.bundle.manifest import FEATURES

_POOLING = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)


def with_features(model: Any) -> Any:
    """Return a classifier that also gives its pooled features; one without as it is.

    They are the output of the nearest global pooling before the logits, with nothing but layers of
    one input in between, whatever they are called.

    Args:
        model: Keras model from one image to a dict of outputs.
    """
    outputs = model.output
    if not isinstance(outputs, dict) or FEATURES in outputs or "logits" not in outputs:
        return model
    pooled = _pooled(outputs["logits"])
    if pooled is None:
        return model
    return keras.Model(model.input, {**outputs, FEATURES: pooled}, name=model.name)


def _pooled(tensor: Any) -> Any:
    """Return the pooled tensor (batch, n) that a tensor is made from, or None."""
    while len(tensor.shape) == 2:
        history = tensor._keras_history
        made_by = history.operation
        if _pools(made_by):
            return tensor
        # A layer that two networks share was called more than once.
        inputs = keras.tree.flatten(made_by._inbound_nodes[history.node_index].input_tensors)
        if isinstance(made_by, keras.layers.InputLayer) or len(inputs) != 1:
            return None
        tensor = inputs[0]
    return None


def _pools(made_by: Any) -> bool:
    """Return whether a layer, or the last one of a network inside the network, pools."""
    if isinstance(made_by, keras.Model):
        ends = keras.tree.flatten(made_by.output)
        return len(ends) == 1 and _pools(ends[0]._keras_history.operation)
    return isinstance(made_by, _POOLING)
