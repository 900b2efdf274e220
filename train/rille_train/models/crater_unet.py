"""A small residual U-Net for craters: plain 3x3 convolutions, ReLU6 and additions, for int8.

Beside the mask it has two heads at half resolution, in the manner of CenterNet (Zhou et al. 2019):
a map that peaks at crater centres, and the size found there. Masks alone merge craters that touch
or lie in each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

STRIDE = 2
"""Network pixels per cell of the centre and size maps."""
_MASK_SHARE, _CENTRE_SHARE = 0.15, 0.02


def crater_unet(
    shape: tuple[int, int, int], widths: Sequence[int], canonical_light: bool, depth: int = 2
) -> Any:
    """Build the network.

    Args:
        shape: (height, width, channels) of the input; sides divisible by 2 ** (len(widths) + 1).
        widths: channels of the encoder's stages, the first at half resolution.
        canonical_light: first find from which side the Sun shines, and look at the image mirrored
            so that it always stands on the left. A hill lit from the left is a crater lit from the
            right: without the Sun's side half of what shading tells is lost.
        depth: residual blocks at the coarsest stage. Each lets an answer depend on 128 px more, so
            that a crater as large as the window is seen whole.

    Returns:
        A `keras.Model` from the input to "mask" (h, w, 1) logits, "centre" (h/2, w/2, 1) logits
        and "size" (h/2, w/2, 2), log2 of width and height in units of 16 px; with canonical light
        also "light" (1,), the logit of the Sun being on the left.
    """
    image = keras.Input(shape, name="input")
    if not canonical_light:
        return keras.Model(image, _body(image, widths, depth), name="crater_unet")
    light = _light(image)
    left = keras.layers.Reshape((1, 1, 1))(light) > 0.0
    turned = ops.where(left, image, ops.flip(image, axis=2))
    outputs = {
        role: ops.where(left, output, ops.flip(output, axis=2))
        for role, output in _body(turned, widths, depth).items()
    }
    return keras.Model(image, {**outputs, "light": light}, name="crater_unet")


def _light(image: Any) -> Any:
    """Return the logit of the Sun standing on the left, from shading all over the image."""
    x = image
    for width in (8, 16, 32, 32):
        x = _convolution(x, width, 3, 2)
    x = keras.layers.GlobalAveragePooling2D()(_convolution(x, 64, 1))
    x = keras.layers.Dense(32)(x)
    return keras.layers.Dense(1, name="light", dtype="float32")(keras.layers.ReLU(6.0)(x))


def _body(image: Any, widths: Sequence[int], depth: int) -> dict[str, Any]:
    """Return the outputs of the U-Net itself by role."""
    x = _residual(_convolution(image, widths[0], 3, STRIDE), widths[0])
    skips = [x]
    for width in widths[1:]:
        x = _residual(x, width, STRIDE)
        skips.append(x)
    x = _residual(x, widths[-1], STRIDE)
    for _ in range(depth - 1):
        x = _residual(x, widths[-1])
    for width, skip in zip(reversed(widths), reversed(skips), strict=True):
        x = _convolution(x, width, 1, activate=False)
        x = keras.layers.UpSampling2D(interpolation="bilinear")(x)
        x = keras.layers.ReLU(6.0)(keras.layers.Add()([x, skip]))
        x = _residual(x, width)
    mask = _head(x, 1, "mask_half", _MASK_SHARE)
    mask = keras.layers.UpSampling2D(interpolation="bilinear", name="mask", dtype="float32")(mask)
    return {
        "mask": mask,
        "centre": _head(x, 1, "centre", _CENTRE_SHARE),
        "size": _head(x, 2, "size", 0.5),
    }


def _head(x: Any, channels: int, name: str, share: float) -> Any:
    """Return a 1x1 convolution whose bias starts at the log odds of `share`."""
    bias = keras.initializers.Constant(math.log(share / (1 - share)))
    return keras.layers.Conv2D(channels, 1, bias_initializer=bias, name=name, dtype="float32")(x)


def _convolution(x: Any, width: int, size: int, stride: int = 1, activate: bool = True) -> Any:
    x = keras.layers.Conv2D(width, size, stride, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization(momentum=0.97)(x)
    return keras.layers.ReLU(6.0)(x) if activate else x


def _residual(x: Any, width: int, stride: int = 1) -> Any:
    """Two 3x3 convolutions beside a shortcut (He et al. 2016)."""
    y = _convolution(x, width, 3, stride)
    y = _convolution(y, width, 3, activate=False)
    if stride != 1 or x.shape[-1] != width:
        x = _convolution(x, width, 1, stride, activate=False)
    return keras.layers.ReLU(6.0)(keras.layers.Add()([y, x]))
