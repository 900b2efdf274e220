"""U-Nets that answer with one mask: the plain one, and the one of residual blocks.

The plain one is that of Ronneberger et al. 2015 (padded, with batch normalisation), as a rock
project used it; the residual one is that of the published crater experiment on LU3M6TGT, layer by
layer: two 3x3 convolutions with batch normalisation beside a shortcut, max-pooling down, 2x2
transposed convolutions up, concatenated skips.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

PUBLISHED_WIDTHS = {
    "unet": (64, 128, 256, 512, 1024),
    "resunet": (64, 128, 256, 512, 1024, 2048),
}
"""Kind -> the widths of the published network; recipes may be narrower."""
_SHARE = 0.15


def mask_unet(shape: tuple[int, int, int], widths: Sequence[int], residual: bool) -> Any:
    """Build the network.

    Args:
        shape: (height, width, channels) of the input; sides divisible by 2 ** (len(widths) - 1).
        widths: channels of each level, the full resolution first.
        residual: blocks with a shortcut.

    Returns:
        A `keras.Model` from the input to {"mask": (batch, h, w, 1)} logits.
    """
    block = _residual if residual else _plain
    image = keras.Input(shape, name="input")
    x = block(image, widths[0])
    skips = [x]
    for width in widths[1:]:
        x = block(keras.layers.MaxPooling2D()(x), width)
        skips.append(x)
    for width, skip in zip(reversed(widths[:-1]), reversed(skips[:-1]), strict=True):
        x = keras.layers.Conv2DTranspose(width, 2, 2, padding="same")(x)
        x = block(keras.layers.Concatenate()([x, skip]), width)
    # The bias starts at the log odds of the share that a mask covers in the data sets at hand.
    bias = keras.initializers.Constant(math.log(_SHARE / (1 - _SHARE)))
    mask = keras.layers.Conv2D(1, 1, bias_initializer=bias, name="mask", dtype="float32")(x)
    return keras.Model(image, {"mask": mask}, name="resunet" if residual else "unet")


def _convolution(x: Any, width: int) -> Any:
    x = keras.layers.Conv2D(width, 3, padding="same", kernel_initializer="he_normal")(x)
    return keras.layers.BatchNormalization(momentum=0.97)(x)


def _plain(x: Any, width: int) -> Any:
    for _ in range(2):
        x = keras.layers.ReLU()(_convolution(x, width))
    return x


def _residual(x: Any, width: int) -> Any:
    """Two convolutions beside a shortcut; a change of width comes first, before both."""
    if x.shape[-1] != width:
        x = keras.layers.Conv2D(width, 1)(x)
    y = keras.layers.ReLU()(_convolution(x, width))
    return keras.layers.ReLU()(keras.layers.Add()([_convolution(y, width), x]))
