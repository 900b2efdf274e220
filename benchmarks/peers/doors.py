"""uint8 in front of and behind a network that takes and gives int8.

Some libraries accept uint8 alone. The same numbers 128 higher mean the same, and TFLite's
`QUANTIZE` operator goes from one to the other, so weights, sums and answers stay what they were.
"""

from __future__ import annotations

import copy
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

_INT8_TO_UINT8 = 128


def with_uint8_doors(model: bytes) -> bytes:
    """Return a TFLite network with uint8 inputs and outputs in place of int8 ones.

    Args:
        model: content of a `.tflite` file with one graph.
    """
    content: Any = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.QUANTIZE
    code.version = 2
    content.operatorCodes.append(code)
    at, graph = len(content.operatorCodes) - 1, content.subgraphs[0]
    before = [_quantize(at, _twin(graph, place), place) for place in graph.inputs]
    after = [_quantize(at, place, _twin(graph, place)) for place in graph.outputs]
    graph.operators = [*before, *graph.operators, *after]
    graph.inputs = [op.inputs[0] for op in before]
    graph.outputs = [op.outputs[0] for op in after]
    content.signatureDefs = None  # they name the old doors
    return bytes(flatbuffer_utils.convert_object_to_bytearray(content))


def _twin(graph: Any, place: int) -> int:
    """Add a uint8 tensor like an int8 one; return its place."""
    twin = copy.deepcopy(graph.tensors[place])
    if twin.type != schema.TensorType.INT8:
        raise ValueError(f"{twin.name} is not int8")
    twin.type, twin.buffer = schema.TensorType.UINT8, 0
    twin.name = twin.name + b"_uint8"
    twin.quantization.zeroPoint = [int(z) + _INT8_TO_UINT8 for z in twin.quantization.zeroPoint]
    graph.tensors.append(twin)
    return len(graph.tensors) - 1


def _quantize(code: int, source: int, target: int) -> Any:
    """Return an operator between two tensors."""
    op = schema.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = code, [source], [target]
    op.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
    op.builtinOptions = schema.QuantizeOptionsT()
    return op
