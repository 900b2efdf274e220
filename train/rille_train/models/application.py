"""Any network of `keras.applications` under a new head.

The network lies in the model as one layer called "base", so that weights files for it alone fit it,
and batch normalisation inside it can be held in inference mode whatever is trained.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rille.errors import ConfigError
from rille_train.models.classifier import load_mobilenet_v2_backbone

HIDDEN = 256
"""Width of the hidden layer in the head "batchnorm-dropout"."""
_IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def application_classifier(
    shape: tuple[int, int, int],
    classes: int,
    *,
    base: str,
    head: str,
    dropout: float,
    fixed: bool,
) -> Any:
    """Build a network of `keras.applications` with a head on its pooled features.

    Args:
        shape: (height, width, channels) of the input; one channel is repeated to three.
        classes: number of logits.
        base: class in `keras.applications`.
        head: "plain": dropout and a linear layer; "batchnorm-dropout": batch normalisation,
            dropout, a hidden layer of `HIDDEN` with ReLU, dropout and a linear layer, which is
            the head of the first reference project.
        dropout: share of the features dropped while training.
        fixed: the base runs in inference mode also while training.

    Returns:
        A `keras.Model` from the input to {"logits": (batch, classes)}.

    Raises:
        ConfigError: the input is too small for this network.
    """
    image = keras.Input(shape, name="input")
    colour = keras.layers.Concatenate(name="repeat")([image] * 3) if shape[2] == 1 else image
    inner = _base(base, (*shape[:2], 3))
    features = inner(colour, training=False) if fixed else inner(colour)
    x = keras.layers.GlobalAveragePooling2D(name="features")(features)
    if head == "batchnorm-dropout":
        x = keras.layers.BatchNormalization(name="head_bn")(x)
        x = keras.layers.Dropout(dropout, name="head_dropout")(x)
        x = keras.layers.Dense(HIDDEN, activation="relu", name="head_hidden")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    logits = keras.layers.Dense(classes, name="logits", dtype="float32")(x)
    return keras.Model(image, {"logits": logits}, name="application")


def _base(name: str, shape: tuple[int, int, int]) -> Any:
    try:
        build = getattr(keras.applications, name)
        return build(include_top=False, weights=None, input_shape=shape, name="base")
    except ValueError as wrong:
        raise ConfigError(f"model.base {name}: {str(wrong).strip().splitlines()[0]}") from None


def load_base(model: Any, path: Path, name: str) -> None:
    """Fill the base with weights from a file.

    Args:
        model: from `application_classifier`.
        path: `.weights.h5` or `.h5` of the base without its top, as Keras writes and publishes
            them; for MobileNetV2 also the `.npz` of `load_mobilenet_v2_backbone`.
        name: class of the base.

    Raises:
        ConfigError: no such file, or weights of another network.
    """
    base = model.get_layer("base")
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; --weights names the weights of {name}")
    if path.suffix == ".npz" and name == "MobileNetV2":
        load_mobilenet_v2_backbone(base, path)
        return
    if path.suffix != ".h5":
        raise ConfigError(f"{path}: {name} takes a .weights.h5 or .h5 file without the top layers")
    before = [np.array(v) for v in base.get_weights()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what does not fit is told below, in one line
            base.load_weights(path)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as wrong:
        reason = str(wrong).strip().splitlines()[0] if str(wrong).strip() else type(wrong).__name__
        raise ConfigError(
            f"{path}: not the weights of {name} without its top layers ({reason[:160]})"
        ) from None
    if all(np.array_equal(a, b) for a, b in zip(before, base.get_weights(), strict=True)):
        raise ConfigError(f"{path}: holds no weights of {name}")
    _square_imagenet_deviation(base)


def _square_imagenet_deviation(base: Any) -> None:
    """Make EfficientNet's published files mean what they mean in Keras.

    They hold the deviation where the normalisation layer wants its square. Keras makes up for it
    by another layer, but only where it downloads the file itself (tensorflow#49930).
    """
    for layer in base.layers:
        if not isinstance(layer, keras.layers.Normalization):
            continue
        mean, variance, *rest = layer.get_weights()
        if np.allclose(variance, _IMAGENET_DEVIATION, atol=1e-3):
            layer.set_weights([mean, variance**2, *rest])
            layer.finalize_state()


def freeze_base(model: Any, below: str) -> None:
    """Fix every batch normalisation, and the base's layers before the one called `below`.

    Args:
        model: from `application_classifier`.
        below: name of a layer of the base; "" fixes batch normalisation alone, "*" the whole base
            and nothing of the head.

    Raises:
        ConfigError: the base has no layer of that name.
    """
    base = model.get_layer("base")
    if below == "*":
        base.trainable = False
        return
    names = [layer.name for layer in base.layers]
    if below and below not in names:
        raise ConfigError(f"freeze_below: the base has no layer {below!r}")
    first = names.index(below) if below else 0
    for index, layer in enumerate(base.layers):
        if index < first or isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def assign_weights(model: Any, weights: Sequence[Any]) -> None:
    """Set a model's weights, also where a layer computes with a copy of them.

    `Normalization` copies its mean and variance when it is built; `Model.set_weights` alone would
    leave the copy as it was, and EfficientNet would see its input unscaled.
    """
    model.set_weights(weights)
    for layer in _all_layers(model):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def _all_layers(model: Any) -> list[Any]:
    found = []
    for layer in model.layers:
        found += [layer, *(_all_layers(layer) if hasattr(layer, "layers") else [])]
    return found
