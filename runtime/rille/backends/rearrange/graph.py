"""The steps and tensors of a `.tflite` file, to be changed in place."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.backends.flatbuffer import litert_schema, packed

if TYPE_CHECKING:
    from numpy.typing import NDArray

schema = litert_schema()
KINDS = schema.BuiltinOperator
INT8, INT32, FLOAT32 = schema.TensorType.INT8, schema.TensorType.INT32, schema.TensorType.FLOAT32
_OPTIONS = {
    KINDS.CONCATENATION: "Concatenation",
    KINDS.GATHER: "Gather",
    KINDS.SELECT_V2: "SelectV2",
    KINDS.SLICE: "Slice",
    KINDS.SPACE_TO_DEPTH: "SpaceToDepth",
    KINDS.TRANSPOSE: "Transpose",
}
"""Steps that an engine would not read without settings -> what those are called."""
_TAKES_INT8 = dict.fromkeys(
    (KINDS.CONCATENATION, KINDS.GATHER, KINDS.SLICE, KINDS.SPACE_TO_DEPTH, KINDS.TRANSPOSE), 2
)
"""From which version on; others do from the first."""


class Graph:
    """A network.

    Args:
        content: the file, of one graph.
    """

    def __init__(self, content: bytes) -> None:
        self._model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content), 0))
        self._graph = self._model.subgraphs[0]

    @property
    def used(self) -> set[int]:
        """The tensors that a step reads or that are the network's outputs."""
        read = (tensor for step in self._graph.operators for tensor in step.inputs)
        return {int(tensor) for tensor in (*read, *self._graph.outputs)}

    def steps(self, kind: int) -> list[Any]:
        """Return the steps of a kind, in the order in which they run."""
        codes = self._model.operatorCodes
        return [s for s in self._graph.operators if _kind(codes[s.opcodeIndex]) == kind]

    def type(self, which: int) -> int:
        """Return what numbers a tensor holds."""
        return int(self._graph.tensors[which].type)

    def shape(self, which: int) -> tuple[int, ...]:
        """Return a tensor's sides."""
        sides = self._graph.tensors[which].shape
        return () if sides is None else tuple(int(side) for side in sides)

    def offset(self, which: int) -> bool:
        """Return whether a number stored as 0 means something else anywhere in a tensor."""
        zeros = self._graph.tensors[which].quantization.zeroPoint
        return zeros is not None and bool(np.any(zeros))

    def alike(self, one: int, other: int) -> bool:
        """Return whether the numbers of two tensors mean the same."""

        def meaning(which: int) -> list[list[Any]]:
            quantised = self._graph.tensors[which].quantization
            numbers = quantised.scale, quantised.zeroPoint
            return [[] if each is None else list(each) for each in numbers]

        return self.type(one) == self.type(other) and meaning(one) == meaning(other)

    def constant(self, which: int) -> NDArray[Any] | None:
        """Return the numbers of an int8 or int32 tensor; None where they are computed."""
        data = self._model.buffers[self._graph.tensors[which].buffer].data
        if data is None or not len(data):
            return None
        dtype = np.int32 if self.type(which) == INT32 else np.int8
        return np.asarray(data, np.uint8).view(dtype).reshape(self.shape(which))

    def add(self, values: Sequence[int] | NDArray[Any]) -> int:
        """Add an int32 constant; return its number."""
        tensor = schema.TensorT()
        tensor.type, tensor.name = INT32, b"rearranged"
        return self._stored(tensor, np.asarray(values, np.int32))

    def in_place_of(self, which: int, values: NDArray[Any], copies: int) -> int:
        """Add a constant stored as another; return its number.

        Args:
            which: that one, int8 or int32.
            values: of its dtype.
            copies: how often its slices along the first axis, and their scales, come in a row.
        """
        tensor = copy.deepcopy(self._graph.tensors[which])
        quantised = tensor.quantization
        if len(quantised.scale) > 1:
            quantised.scale = np.tile(quantised.scale, copies)
            quantised.zeroPoint = np.tile(quantised.zeroPoint, copies)
        quantised.min = quantised.max = None
        return self._stored(tensor, values)

    def _stored(self, tensor: Any, values: NDArray[Any]) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        tensor.shape, tensor.buffer = list(values.shape), len(self._model.buffers) - 1
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def like(self, which: int, shape: Sequence[int]) -> int:
        """Add a tensor that is computed, of another's type and scale; return its number."""
        tensor = copy.deepcopy(self._graph.tensors[which])
        tensor.shape, tensor.shapeSignature, tensor.buffer = list(shape), None, 0
        tensor.name = b"rearranged"
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def step(self, kind: int, inputs: Sequence[int], output: int, **settings: int) -> Any:
        """Return a new step.

        Args:
            kind: which operation.
            inputs, output: tensors.
            settings: of the operation, by their names in the schema.
        """
        step = schema.OperatorT()
        step.opcodeIndex = self._code(kind)
        step.inputs, step.outputs = list(inputs), [output]
        name = _OPTIONS.get(kind)
        if name is not None:
            step.builtinOptionsType = getattr(schema.BuiltinOptions, f"{name}Options")
            step.builtinOptions = getattr(schema, f"{name}OptionsT")()
            for setting, value in settings.items():
                setattr(step.builtinOptions, setting, value)
        return step

    def reshaped(self, source: int, shape: Sequence[int], output: int | None = None) -> Any:
        """Return a step that gives a tensor other sides; its output is new, or a given one."""
        output = self.like(source, shape) if output is None else output
        return self.step(KINDS.RESHAPE, [source, self.add(shape)], output)

    def transposed(self, source: int, order: Sequence[int], output: int | None = None) -> Any:
        """Return a step that puts a tensor's axes in another order; see `reshaped`."""
        shape = [self.shape(source)[axis] for axis in order]
        output = self.like(source, shape) if output is None else output
        return self.step(KINDS.TRANSPOSE, [source, self.add(order)], output)

    def fetched(self, source: int, which: int, axis: int, output: int | None = None) -> Any:
        """Return a step that fetches slices of a tensor; see `reshaped`.

        Args:
            source: the tensor.
            which: (n,) int32, the numbers of the slices.
            axis: along which they lie.
            output: where they go.
        """
        shape = list(self.shape(source))
        shape[axis] = self.shape(which)[0]
        output = self.like(source, shape) if output is None else output
        return self.step(KINDS.GATHER, [source, which], output, axis=axis)

    def _code(self, kind: int) -> int:
        """Return the number that a kind of step has in this file, which may be new there."""
        codes, version = self._model.operatorCodes, _TAKES_INT8.get(kind, 1)
        for number, known in enumerate(codes):
            if _kind(known) == kind and known.version >= version:
                return number
        code = schema.OperatorCodeT()
        code.builtinCode, code.version = kind, version
        code.deprecatedBuiltinCode = min(kind, KINDS.PLACEHOLDER_FOR_GREATER_OP_CODES)
        codes.append(code)
        return len(codes) - 1

    def replace(self, step: Any, others: Sequence[Any]) -> None:
        """Put steps in the place of one."""
        steps = list(self._graph.operators)
        place = next(k for k, known in enumerate(steps) if known is step)
        self._graph.operators = [*steps[:place], *others, *steps[place + 1 :]]

    def drop_unread(self, kind: int) -> None:
        """Drop the steps of a kind whose results nothing reads."""
        for step in self.steps(kind):
            if step.outputs[0] not in self.used:
                self.replace(step, [])

    def packed(self) -> bytes:
        """Return the file."""
        return packed(self._model)


def _kind(code: Any) -> int:
    """Return which operation a code of a file means: newer ones are beyond the older field."""
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))
