"""A U-Net for rover scenes: MobileNetV2 going down, cheap separable convolutions coming up.

ReLU6 throughout and additions instead of concatenations, which int8 takes well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

_SKIPS = (
    "block_1_expand_relu",
    "block_3_expand_relu",
    "block_6_expand_relu",
    "block_13_expand_relu",
)
"""The last feature maps of MobileNetV2 at strides 2, 4, 8 and 16."""
_DEEPEST = "block_16_project_BN"


def scene_unet(shape: tuple[int, int, int], classes: int, widths: Sequence[int]) -> Any:
    """Build the network.

    Args:
        shape: (height, width, channels) of the input; sides divisible by 32.
        classes: number of classes besides the rest.
        widths: channels on the way up at strides 2, 4, 8 and 16.

    Returns:
        A `keras.Model` from the input to {"classes": (batch, h/2, w/2, 1 + classes)} logits, the
        rest first.
    """
    image = keras.Input(shape, name="input")
    base = keras.applications.MobileNetV2(input_tensor=image, include_top=False, weights=None)
    x = base.get_layer(_DEEPEST).output
    for width, name in zip(reversed(widths), reversed(_SKIPS), strict=True):
        x = _point(x, width, activate=False)
        x = keras.layers.UpSampling2D(interpolation="bilinear")(x)
        skip = _point(base.get_layer(name).output, width, activate=False)
        x = keras.layers.ReLU(6.0)(keras.layers.Add()([x, skip]))
        y = _separable(_separable(x, width), width, activate=False)
        x = keras.layers.ReLU(6.0)(keras.layers.Add()([x, y]))
    logits = keras.layers.Conv2D(1 + classes, 1, name="classes", dtype="float32")(x)
    return keras.Model(image, {"classes": logits}, name="scene_unet")


def _point(x: Any, width: int, activate: bool = True) -> Any:
    x = keras.layers.Conv2D(width, 1, use_bias=False)(x)
    x = keras.layers.BatchNormalization(momentum=0.97)(x)
    return keras.layers.ReLU(6.0)(x) if activate else x


def _separable(x: Any, width: int, activate: bool = True) -> Any:
    """Depthwise 3x3, then pointwise (Sandler et al. 2018 without the expansion)."""
    x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization(momentum=0.97)(x)
    return _point(keras.layers.ReLU(6.0)(x), width, activate)
