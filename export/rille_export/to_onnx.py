"""Keras to ONNX, by the route that Keras itself offers, with the precision in the graph.

TensorRT 11 has neither precision flags nor calibrators: a strongly typed network computes in the
types that its graph names. So half precision is a graph of float16 between two casts, and int8 is a
graph with QuantizeLinear and DequantizeLinear before every layer (`rille_export.qdq`), which
TensorRT 10 and 11 and ONNX Runtime read alike.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import tensorflow as tf

from rille.bundle.manifest import OutputEntry, Variant
from rille.errors import BundleError
from rille.tensor import TensorSpec
from rille_export.convert import quiet
from rille_export.qdq import quantised

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OPSET = 18
_INPUT = "input"
_SHARES = {"fp32": 1e-3, "fp16": 0.02, "int8": 0.1}
"""How far golden outputs may lie apart on other processors, as a share of the largest."""


def to_onnx(model: Any, precision: str, calibration: Sequence[NDArray[Any]]) -> bytes:
    """Convert a model with a dict of outputs; inputs and outputs are float32, batch 1.

    Args:
        model: float32 Keras model with one input.
        precision: "fp32", "fp16" or "int8".
        calibration: (1, h, w, c) inputs, for the ranges of int8.

    Raises:
        BundleError: it cannot be converted, or what comes out is no sound graph.
    """
    return _made(model.name, precision, calibration, lambda folder: _exported(model, folder))


def from_tflite(
    content: bytes, roles: Mapping[str, int], precision: str, calibration: Sequence[NDArray[Any]]
) -> bytes:
    """Convert a `.tflite` network of float32; see `to_onnx`.

    Args:
        content: the file.
        roles: name -> which of its outputs; the ONNX network's outputs are called so.
        precision: "fp32", "fp16" or "int8".
        calibration: (1, h, w, c) inputs, for the ranges of int8.

    Raises:
        BundleError: it cannot be converted, or what comes out is no sound graph.
    """
    return _made("network", precision, calibration, lambda folder: _read(content, roles, folder))


def _made(
    name: str,
    precision: str,
    calibration: Sequence[NDArray[Any]],
    convert: Callable[[Path], Any],
) -> bytes:
    """Return a graph of float32 in the precision wanted, checked."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        try:
            graph = convert(folder)
            if precision == "fp16":
                graph = _half(graph)
            elif precision == "int8":
                graph = quantised(graph, folder, calibration)
            onnx.checker.check_model(graph, full_check=True)
        except Exception as wrong:  # four libraries take part, each with its own errors
            reason = (str(wrong).strip() or type(wrong).__name__).splitlines()[0][:200]
            raise BundleError(
                f"{name}: cannot be converted to ONNX {precision} ({reason})"
            ) from None
    content: bytes = graph.SerializeToString()
    return content


def describe_variant(content: bytes, file: str, precision: str, roles: Sequence[str]) -> Variant:
    """Return the manifest entry of an ONNX network; outputs are named as their roles.

    Raises:
        BundleError: a role has no output.
    """
    graph = onnx.load_model_from_string(content).graph
    outputs = {value.name: k for k, value in enumerate(graph.output)}
    missing = set(roles) - outputs.keys()
    if missing:
        raise BundleError(f"{file}: has no output {min(missing)!r}, but {', '.join(outputs)}")
    return Variant(
        file=file,
        target="onnx",
        precision=precision,
        input=_spec(graph.input[0]),
        outputs={
            role: OutputEntry(index=outputs[role], tensor=_spec(graph.output[outputs[role]]))
            for role in roles
        },
        golden_share=_SHARES[precision],
    )


def _spec(value: Any) -> TensorSpec:
    return TensorSpec(shape=tuple(d.dim_value for d in value.type.tensor_type.shape.dim))


def _exported(model: Any, folder: Path) -> Any:
    signature = [tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name=_INPUT)]
    file = folder / "model.onnx"
    with quiet():
        model.export(
            file, format="onnx", verbose=False, input_signature=signature, opset_version=_OPSET
        )
    return onnx.load(file)


def _read(content: bytes, roles: Mapping[str, int], folder: Path) -> Any:
    """Return a `.tflite` network as a graph with our names for its input and outputs."""
    import tf2onnx

    file = folder / "model.tflite"
    file.write_bytes(content)
    with quiet():
        model, _ = tf2onnx.convert.from_tflite(str(file), opset=_OPSET)
    graph = model.graph
    names = {graph.input[0].name: _INPUT}
    names |= {graph.output[place].name: role for role, place in roles.items()}
    for node in graph.node:
        for words in (node.input, node.output):
            words[:] = [names.get(word, word) for word in words]
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)
    return model


def _half(graph: Any) -> Any:
    """Return the graph in float16 between a cast at the input and one at each output.

    The converter can keep float32 at the ends by itself, but then leaves a graph out of order.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half = convert_float_to_float16(graph, keep_io_types=False)
    inner, nodes = half.graph, list(half.graph.node)
    before: list[Any] = []
    after: list[Any] = []
    for value in (*inner.input, *inner.output):
        inside = f"{value.name}_half"
        given = value in inner.input
        for node in nodes:
            names = node.input if given else node.output
            for k, used in enumerate(names):
                if used == value.name:
                    names[k] = inside
            if not given:  # an output that another node reads as well
                for k, used in enumerate(node.input):
                    if used == value.name:
                        node.input[k] = inside
        ends = ([value.name], [inside]) if given else ([inside], [value.name])
        kind = onnx.TensorProto.FLOAT16 if given else onnx.TensorProto.FLOAT
        (before if given else after).append(onnx.helper.make_node("Cast", *ends, to=kind))
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    del inner.node[:]
    inner.node.extend([*before, *nodes, *after])
    return half
