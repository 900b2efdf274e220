"""Which layers lose most in int8: the signal-to-quantisation-noise ratio of each."""

from __future__ import annotations

import csv
import io
import math
import re
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from rille_export.convert import quiet
from rille_export.flat import flattened

if TYPE_CHECKING:
    from numpy.typing import NDArray


_LEAST_DECIBELS = -60.0


def noisiest_layers(
    model: Any, images: Sequence[NDArray[np.float32]], count: int = 5
) -> list[tuple[str, float]]:
    """Return the layers whose own rounding leaves the least signal over noise.

    Each layer is computed in float and in int8 on the same inputs, those of the float network, by
    TensorFlow's quantisation debugger: what one layer loses does not count for the next.

    Args:
        model: float32 Keras model with one input.
        images: (1, h, w, c) representative inputs.
        count: how many layers.

    Returns:
        (name, decibels) from the noisiest on; 20 log10 of the ratio of root mean squares.
    """
    model = flattened(model)  # so that layers inside a network of keras.applications have names
    signature = [tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="input")]
    options = tf.lite.experimental.QuantizationDebugOptions(
        layer_direct_compare_metrics={"sqnr": _decibels}
    )
    with tempfile.TemporaryDirectory() as folder, quiet():
        model.export(folder, verbose=False, input_signature=signature)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x] for x in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter,
            debug_dataset=lambda: ([x] for x in images[:16]),
            debug_options=options,
        )
        debugger.run()
        text = io.StringIO()
        debugger.layer_statistics_dump(text)
    layers = layer_names(model)
    rows = [
        (layer_named(row["tensor_name"], layers), float(row["sqnr"]))
        for row in csv.DictReader(io.StringIO(text.getvalue()))
    ]
    # A tensor without signal, as of a unit that never answers, has no ratio.
    rows = [row for row in rows if math.isfinite(row[1]) and row[1] > _LEAST_DECIBELS]
    return sorted(rows, key=lambda row: row[1])[:count]


def _decibels(
    exact: Sequence[NDArray[Any]], stored: Sequence[NDArray[Any]], scale: float, zero_point: int
) -> float:
    real = (np.asarray(stored[0], np.float64) - zero_point) * scale
    signal = float(np.square(np.asarray(exact[0], np.float64)).mean())
    noise = float(np.square(real - exact[0]).mean())
    return 10.0 * math.log10(max(signal, 1e-20) / max(noise, 1e-20))


def layer_names(model: Any) -> list[str]:
    """Return the names of a network's layers, convolutions before what normalises them."""
    kinds = keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense
    layers = flattened(model).layers
    first = [x.name for x in layers if isinstance(x, kinds)]
    return first + [x.name for x in layers if x.name not in first]


def layer_named(tensor: str, layers: Sequence[str]) -> str:
    """Return the first of some layers that a tensor is called after.

    Conversion joins the names of everything that it fuses, and numbers them anew.
    """
    parts = {re.sub(r"_\d+$", "", part) for part in re.split("[/;]", tensor)}
    parts |= set(re.split("[/;]", tensor))
    fallback = "the output" if tensor.startswith("StatefulPartitionedCall") else tensor
    return next((name for name in layers if name in parts), fallback)
