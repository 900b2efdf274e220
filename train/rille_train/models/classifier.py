"""MobileNetV2 with a new head: ReLU6 and plain residuals, which survive int8 well."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rille.errors import ConfigError

_PART = r"block_\d+_(?:expand|depthwise|project)|expanded_conv_(?:depthwise|project)"
_MOBILENET = re.compile(rf"Conv1|Conv_1|{_PART}")
_MOBILENET_NORM = re.compile(rf"bn_Conv1|Conv_1_bn|(?:{_PART})_BN")


def mobilenet_v2_classifier(shape: tuple[int, int, int], classes: int, dropout: float) -> Any:
    """Build MobileNetV2-1.0 (Sandler et al. 2018) with a linear head on its pooled features.

    Args:
        shape: (height, width, channels) of the input.
        classes: number of logits.
        dropout: share of the features dropped while training.

    Returns:
        A `keras.Model` from the input to {"logits": (batch, classes)}; its layers are flat, named
        as in `keras.applications`, and the pooled features are layer "features".
    """
    image = keras.Input(shape, name="input")
    base = keras.applications.MobileNetV2(input_tensor=image, include_top=False, weights=None)
    features = keras.layers.GlobalAveragePooling2D(name="features")(base.output)
    x = keras.layers.Dropout(dropout, name="dropout")(features)
    logits = keras.layers.Dense(classes, name="logits", dtype="float32")(x)
    return keras.Model(image, {"logits": logits}, name="mobilenet_v2")


def load_mobilenet_v2_backbone(model: Any, path: Path) -> None:
    """Fill a MobileNetV2's convolutions from an `.npz` with batch normalisation folded in.

    What a network adds to MobileNetV2, and the parts of it that a network leaves out, stay as they
    are: layers are found by their names in `keras.applications`.

    The file's arrays are `NN_conv|dw/{kernel,bias}` in graph order. Each batch normalisation
    becomes the identity plus the bias: gamma 1, beta = bias, mean 0, variance 1 - epsilon. For one
    grey channel the kernels of the three colours are added: the answers are those to three equal
    channels.

    Args:
        model: a model built on `keras.applications.MobileNetV2`.
        path: the file.

    Raises:
        ConfigError: the file is missing, or its arrays do not fit this network.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (OSError, ValueError) as wrong:
        raise ConfigError(f"{path}: not a file of backbone weights ({wrong})") from None
    kernels = sorted(key for key in arrays if key.endswith("/kernel"))
    convolutions = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
        and _MOBILENET.fullmatch(layer.name)
    ]
    norms = [x for x in model.layers if _MOBILENET_NORM.fullmatch(x.name)]
    # The file's last convolution makes the 1001 ImageNet logits, which this network lacks.
    if len(convolutions) != len(norms) or len(kernels) < len(convolutions):
        raise ConfigError(f"{path}: holds {len(kernels)} convolutions, not those of MobileNetV2")
    for key, convolution, norm in zip(kernels, convolutions, norms, strict=False):
        kernel, bias = arrays[key], arrays[key.replace("/kernel", "/bias")]
        if convolution.kernel.shape[2] == 1 and kernel.shape[2] == 3:
            kernel = kernel.sum(axis=2, keepdims=True)
        if kernel.shape != tuple(convolution.kernel.shape):
            raise ConfigError(
                f"{path}: {key} has shape {kernel.shape}, layer {convolution.name} needs "
                f"{tuple(convolution.kernel.shape)}"
            )
        convolution.set_weights([kernel])
        ones, zeros = np.ones_like(bias), np.zeros_like(bias)
        norm.set_weights([ones, bias, zeros, ones - norm.epsilon])


def freeze(model: Any, below: str) -> None:
    """Fix the backbone's batch normalisation, and every layer before the one called `below`.

    With few images per class the statistics of a batch say more about the draw than about the
    data; moving averages that follow them are what collapsed the first reference project.

    Raises:
        ConfigError: no layer has that name.
    """
    names = [layer.name for layer in model.layers]
    if below and below not in names:
        raise ConfigError(f"freeze_below: the network has no layer {below!r}")
    first = names.index(below) if below else 0
    for index, layer in enumerate(model.layers):
        if index < first or _MOBILENET_NORM.fullmatch(layer.name):
            layer.trainable = False
