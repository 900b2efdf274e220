"""ONNX in int8: QuantizeLinear and DequantizeLinear where a strongly typed TensorRT wants them.

Only what convolutions and dense layers read is rounded: their weights, symmetric for each output
channel, and the tensor before each, symmetric over the range seen on the calibration inputs.
TensorRT fuses what stands between two such layers (bias, addition, activation, the next rounding)
into the first. To round their outputs too, as ONNX Runtime does when it is not told otherwise,
spends the 8 bits on what an activation cuts off right after: before ReLU6 the crater network's
first convolution reaches 31, so that 25 of 255 steps are left for what comes through.

A layer that serves a comparison alone stays in float: a decision jumps, and rounding that moves its
logit by a tenth turns the whole answer over. They are few and small, and TensorRT takes a graph of
mixed types as it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from rille_export.bias_correction import correct_biases
from rille_export.convert import quiet

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_COMPARISONS = {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"}


def quantised(graph: Any, folder: Path, calibration: Sequence[NDArray[Any]]) -> Any:
    """Return a network with its layers in int8, those apart that only decide.

    Args:
        graph: float32 ONNX model with one input.
        folder: for intermediate files.
        calibration: (1, h, w, c) inputs, for the ranges.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # no types are published
        """Hands the calibration inputs over one by one."""

        def __init__(self) -> None:
            self._left = iter(calibration)

        def get_next(self) -> dict[str, Any] | None:
            """Return the next input, or None after the last."""
            x = next(self._left, None)
            return None if x is None else {graph.graph.input[0].name: x}

    plain, prepared, made = (folder / f"{name}.onnx" for name in ("plain", "prepared", "int8"))
    onnx.save(graph, plain)
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        onnx.save(_outputs_apart(onnx.load(prepared)), prepared)
        quantize_static(
            prepared,
            made,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(_LAYERS),
            nodes_to_exclude=_deciding(onnx.load(prepared).graph),
            extra_options={
                # TensorRT takes symmetric ranges only.
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,  # its parser refuses biases of 32 bits
                "OpTypesToExcludeOutputQuantization": list(_LAYERS),
            },
        )
    rounded = onnx.load(made)
    correct_biases(onnx.load(prepared), rounded, calibration, _LAYERS)
    return rounded


def _outputs_apart(model: Any) -> Any:
    """Give each output that layers read, too, a tensor of its own.

    ONNX Runtime renames what it rounds, and then does not find it among the outputs any more.
    """
    graph = model.graph
    read = {name for node in graph.node for name in node.input}
    for name in [value.name for value in graph.output if value.name in read]:
        inner = f"{name}_read"
        for node in graph.node:
            for words in (node.input, node.output):
                words[:] = [inner if word == name else word for word in words]
        graph.node.append(onnx.helper.make_node("Identity", [inner], [name], name=f"{name}_out"))
    return model


def float_weights(content: bytes) -> list[str]:
    """Return the names of the weights of layers that compute in float, in the order of the graph.

    Args:
        content: an `.onnx` file.
    """
    graph = onnx.load_model_from_string(content).graph
    weights = {tensor.name for tensor in graph.initializer}
    return [n.input[1] for n in graph.node if n.op_type in _LAYERS and n.input[1] in weights]


def _deciding(graph: Any) -> list[str]:
    """Return the layers from which no way but through a comparison leads to an output."""
    made_by = {output: node for node in graph.node for output in node.output}
    answering: set[str] = set()
    left = [value.name for value in graph.output]
    while left:
        node = made_by.get(left.pop())
        if node is None or node.op_type in _COMPARISONS or node.output[0] in answering:
            continue
        answering.add(node.output[0])
        left += node.input
    return [n.name for n in graph.node if n.op_type in _LAYERS and n.output[0] not in answering]
