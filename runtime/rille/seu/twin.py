"""The same network in float32, made of an integer one by dequantising its weights.

So that the two precisions can be compared on the very same weights, where a bundle holds the
integer form alone. Activations are then exact where the integer network rounds them; nothing else
differs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rille.backends import open_backend
from rille.backends.flatbuffer import litert_schema, packed
from rille.bundle import Bundle, Variant, file_entries, write_bundle
from rille.errors import BundleError
from rille.images import decode_image
from rille.preprocess import Preprocessor
from rille.tensor import TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = "float-twin"
"""What the variant is called."""
_FLOAT32, _INT32 = 0, 2
_INTEGERS = {2: np.int32, 9: np.int8, 3: np.uint8, 7: np.int16}


def with_twin(bundle: Bundle, folder: Path) -> Bundle:
    """Write a copy of a bundle that also holds its integer network in float32.

    Args:
        bundle: verified; its preferred network is an integer one in TFLite.
        folder: where the copy goes.

    Returns:
        The copy, with golden answers of the float network as it is.

    Raises:
        BundleError: there is no such network, or it cannot be written in float32.
        SinkError: the folder cannot be written.
    """
    name, form = bundle.variant(None, "tflite")
    if form.precision != "int8":
        raise BundleError(f"{bundle.where}: {name} is no integer network")
    model = float_model(bundle.files[form.file])
    outputs = {
        role: replace(entry, tensor=TensorSpec(shape=entry.tensor.shape))
        for role, entry in form.outputs.items()
    }
    plain = replace(
        form,
        file="model.twin.tflite",
        precision="fp32",
        input=TensorSpec(shape=form.input.shape),
        outputs=outputs,
        golden={},
    )
    golden = _golden(bundle, plain, model)
    files = {
        **bundle.files,
        plain.file: model,
        **{f"golden.twin.{k}.bin": v for k, v in golden.items()},
    }
    plain = replace(plain, golden={role: f"golden.twin.{role}.bin" for role in golden})
    manifest = replace(
        bundle.manifest,
        variants={**bundle.manifest.variants, NAME: plain},
        files=file_entries(files),
    )
    return write_bundle(folder, manifest, files)


def float_model(model: bytes) -> bytes:
    """Return an integer `.tflite` network as one of float32.

    Args:
        model: sound; its weights int8, its biases int32.

    Raises:
        BundleError: it holds an operation that only integer networks have.
        BackendUnavailableError: the installed LiteRT cannot write networks.
    """
    schema = litert_schema()
    graph = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    (main,) = graph.subgraphs
    for tensor in main.tensors:
        _dequantise(tensor, graph)
    same: dict[int, int] = {}
    kept = []
    quantize = {schema.BuiltinOperator.QUANTIZE, schema.BuiltinOperator.DEQUANTIZE}
    for operation in main.operators:
        code = graph.operatorCodes[operation.opcodeIndex]
        operation.inputs = [same.get(int(k), int(k)) for k in operation.inputs]
        if max(code.builtinCode, code.deprecatedBuiltinCode) in quantize:
            # Between two scales of integers there is nothing left to do.
            same[int(operation.outputs[0])] = int(operation.inputs[0])
        else:
            kept.append(operation)
    main.operators = kept
    main.outputs = [same.get(int(k), int(k)) for k in main.outputs]
    for signature in graph.signatureDefs or ():
        for entry in signature.outputs or ():
            entry.tensorIndex = same.get(int(entry.tensorIndex), int(entry.tensorIndex))
    return packed(graph)


def _dequantise(tensor: Any, graph: Any) -> None:
    """Turn one tensor into float32, its constant content too."""
    quantised = tensor.quantization
    if tensor.type not in _INTEGERS or quantised is None or quantised.scale is None:
        return
    scales = np.asarray(quantised.scale, np.float32)
    if not scales.size:
        return
    content = graph.buffers[tensor.buffer].data
    if content is not None and len(content):
        stored = np.frombuffer(bytes(bytearray(content)), _INTEGERS[tensor.type])
        zeros = np.asarray(quantised.zeroPoint, np.int64)
        sides = [1] * len(tensor.shape)
        if scales.size > 1:
            sides[quantised.quantizedDimension] = scales.size
        values = (stored.reshape(tensor.shape) - zeros.reshape(sides)) * scales.reshape(sides)
        raw = np.frombuffer(values.astype(np.float32).tobytes(), np.uint8)
        fresh = type(graph.buffers[tensor.buffer])()
        fresh.data = raw
        graph.buffers.append(fresh)
        tensor.buffer = len(graph.buffers) - 1
    tensor.type, tensor.quantization = _FLOAT32, None


def _golden(bundle: Bundle, form: Variant, model: bytes) -> dict[str, bytes]:
    """Return what the float network says of the golden images."""
    engine = open_backend(model, form, threads=1)
    prepare = Preprocessor(bundle.manifest.ops, form.input)
    said: dict[str, list[NDArray[Any]]] = {role: [] for role in form.outputs}
    for name in bundle.manifest.golden_images:
        for role, values in engine.infer(
            prepare(decode_image(bundle.files[name], name))[0]
        ).items():
            said[role].append(values)
    engine.close()
    return {role: np.stack(found).tobytes() for role, found in said.items() if found}
