"""What numbers each network of `keras.applications` wants to be fed.

The first reference project fed pictures in 0..1 to a network that divides by 255 itself: it saw a
255th of its range, and nothing complained. Here the mismatch is refused before anything is read.
Ranges are those of each module's own `preprocess_input` in Keras 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rille.errors import nearest
from rille.preprocess import Normalize, parse_ops

Numbers = tuple[float, ...]
CONTRACTS: dict[str, tuple[Numbers, Numbers]] = {
    "0..255": ((0.0,), (1.0,)),
    "-1..1": ((127.5,), (127.5,)),
    "ImageNet mean and deviation": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
"""Name of a range -> the mean and std of the `normalize` that makes it from pixels 0..255."""
_INSIDE = (
    "EfficientNetB0 EfficientNetB1 EfficientNetB2 EfficientNetB3 EfficientNetB4 EfficientNetB5 "
    "EfficientNetB6 EfficientNetB7 EfficientNetV2B0 EfficientNetV2B1 EfficientNetV2B2 "
    "EfficientNetV2B3 EfficientNetV2S EfficientNetV2M EfficientNetV2L ConvNeXtTiny ConvNeXtSmall "
    "ConvNeXtBase ConvNeXtLarge ConvNeXtXLarge MobileNetV3Small MobileNetV3Large"
)
_SYMMETRIC = (
    "ResNet50V2 ResNet101V2 ResNet152V2 Xception MobileNet MobileNetV2 InceptionV3 "
    "InceptionResNetV2 NASNetMobile NASNetLarge"
)
BASES: dict[str, str] = {
    **dict.fromkeys(_INSIDE.split(), "0..255"),
    **dict.fromkeys(_SYMMETRIC.split(), "-1..1"),
    **dict.fromkeys(("DenseNet121", "DenseNet169", "DenseNet201"), "ImageNet mean and deviation"),
}
"""Class in `keras.applications` -> the range it takes.

ResNet50 to ResNet152 and VGG are left out: they want blue first, which no preprocessing of rille
makes; their successors here do not.
"""


def check_contract(base: str, preprocess: Sequence[Mapping[str, Any]]) -> None:
    """Refuse preprocessing that makes other numbers than a network takes.

    Args:
        base: class in `keras.applications`.
        preprocess: the recipe's operations.

    Raises:
        ValueError: no such network, or another range.
    """
    if base not in BASES:
        raise ValueError(f"model.base {base!r} is not known{nearest(base, list(BASES))}")
    mean, std = CONTRACTS[BASES[base]]
    last = parse_ops(preprocess)[-1]
    if not (isinstance(last, Normalize) and _same(last.mean, mean) and _same(last.std, std)):
        raise ValueError(
            f"model.base {base} takes {BASES[base]}: the last operation of preprocess must be "
            f'{{ op = "normalize", mean = {list(mean)}, std = {list(std)} }}'
        )


def _same(given: Numbers, wanted: Numbers) -> bool:
    """Compare up to rounding; one number stands for every channel."""
    longest = max(len(given), len(wanted))
    pairs = zip(given * (longest // len(given)), wanted * (longest // len(wanted)), strict=False)
    return longest <= 3 and all(abs(a - b) <= 0.5 for a, b in pairs)
