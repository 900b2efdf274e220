"""Where the weights lie inside a `.tflite` file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rille.backends.flatbuffer import litert_schema

_TYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 9: "int8", 7: "int16", 4: "int64"}
"""Numbers of `TensorType` in the schema of TensorFlow Lite."""


@dataclass(frozen=True, slots=True)
class WeightSpan:
    """The bytes of one constant tensor.

    Attributes:
        name: of the tensor.
        layer: operation that reads it first, as "12 CONV_2D".
        dtype: of its numbers.
        start, end: first byte in the file, and the one after the last.
    """

    name: str
    layer: str
    dtype: str
    start: int
    end: int

    @property
    def bits(self) -> int:
        """How many bits there are."""
        return 8 * (self.end - self.start)

    @property
    def item_bytes(self) -> int:
        """Bytes of one number."""
        return np.dtype(self.dtype).itemsize


def weight_spans(model: bytes) -> list[WeightSpan]:
    """Return the constants that operations of a network compute with, in the order of the layers.

    Shapes, axes and other small whole numbers (int64, and int32 that no layer with weights reads)
    belong to the structure, not to the weights: a flip there changes what is computed, not with
    what.

    Args:
        model: content of a `.tflite` file, sound.

    Raises:
        BackendUnavailableError: the installed LiteRT has no schema.
    """
    schema = litert_schema()
    graph = schema.Model.GetRootAs(model, 0)
    base = np.frombuffer(model, np.uint8).__array_interface__["data"][0]
    main = graph.Subgraphs(0)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}
    spans, seen = [], set()
    for k in range(main.OperatorsLength()):
        operation = main.Operators(k)
        code = graph.OperatorCodes(operation.OpcodeIndex())
        kind = names.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "UNKNOWN")
        for place in range(operation.InputsLength()):
            index = operation.Inputs(place)
            if index < 0 or index in seen:
                continue
            tensor = main.Tensors(index)
            content = graph.Buffers(tensor.Buffer()).DataAsNumpy()
            dtype = _TYPES.get(tensor.Type(), "")
            if not isinstance(content, np.ndarray) or not _is_weight(kind, place, dtype):
                continue
            seen.add(index)
            start = content.__array_interface__["data"][0] - base
            name = (tensor.Name() or b"").decode(errors="replace")
            spans.append(WeightSpan(name, f"{k} {kind}", dtype, start, start + content.nbytes))
    return spans


def _is_weight(kind: str, place: int, dtype: str) -> bool:
    if dtype in ("float32", "float16", "int8", "uint8", "int16"):
        return True
    # The third input of these is the bias, which integer networks keep in int32.
    return dtype == "int32" and place == 2 and kind in _WITH_BIAS


_WITH_BIAS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
