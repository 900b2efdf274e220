"""Networks that int8 slows down are named, with what slows them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the export extra is not installed")

import keras

from rille.backends.anatomy import Anatomy
from rille_export import convert
from rille_export.forms import FLOAT, Form
from rille_export.speed import Speed, measure


def forms_of(base: str) -> dict[str, Form]:
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(1)
    inner = getattr(keras.applications, base)(
        include_top=False, weights=None, input_shape=(64, 64, 3)
    )
    pooled = keras.layers.GlobalAveragePooling2D()(inner.output)
    model = keras.Model(inner.input, {"logits": keras.layers.Dense(3)(pooled)})
    rng = np.random.default_rng(0)
    shown: list[Any] = [rng.uniform(0, 255, (1, 64, 64, 3)).astype(np.float32) for _ in range(4)]
    found = {}
    for precision in ("fp32", "int8"):
        content = convert.to_tflite(model, precision, shown)
        variant = convert.describe_variant(content, f"{precision}.tflite", precision, ["logits"])
        found[f"tflite-{precision}"] = Form(content, variant)
    return found


@pytest.mark.slow
def test_hard_swish_splits_an_int8_network() -> None:
    """MobileNetV3: what XNNPACK takes whole in float falls into pieces in int8."""
    (speed,) = measure(forms_of("MobileNetV3Small")).values()
    assert speed.anatomy.outside == {"HARD_SWISH": 18} and speed.anatomy.parts > 15
    assert speed.ratio_to_float > 0
    slow = Speed(ratio_to_float=3.5, anatomy=speed.anatomy)
    assert "slower than float here by 3.5 times: XNNPACK takes it in 19 parts" in slow.warning
    assert "18 HARD_SWISH" in slow.warning


@pytest.mark.slow
def test_efficientnet_stays_in_one_piece() -> None:
    (speed,) = measure(forms_of("EfficientNetB0")).values()
    assert speed.anatomy.outside == {} and speed.anatomy.parts == 1


def test_only_a_slower_form_is_warned_of() -> None:
    whole = Anatomy({"CONV_2D": 3}, 1, {}, 10, 10)
    assert Speed(ratio_to_float=0.4, anatomy=whole).warning == ""
    assert Speed(ratio_to_float=1.05, anatomy=whole).warning == ""
    assert "gains nothing" in Speed(ratio_to_float=1.3, anatomy=whole).warning
    assert measure({FLOAT: None}) == {}  # type: ignore[dict-item]
