"""Keras to `.tflite`, by the one route that keeps the weights.

`Model.export` to a SavedModel with a fixed input signature, then `from_saved_model`: static
shapes, a named input, named outputs. Going through a concrete function drops the weights of a
Keras 3 model without a word (see `check_operations`).
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from rille.backends import Backend
from rille.backends.litert import describe
from rille.bundle.manifest import OutputEntry, Variant
from rille.errors import BundleError

if TYPE_CHECKING:
    from numpy.typing import NDArray


_INTEGERS = {
    "int8": (tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.int8),
    "int16x8": (
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
        tf.int16,
    ),
}


def load_model(path: Path) -> Any:
    """Load a `.keras` file without running code from it and without its optimiser.

    Raises:
        BundleError: it is damaged, or holds code (a Lambda layer).
    """
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError) as wrong:
        reason = str(wrong).strip().splitlines()[0][:160]
        raise BundleError(f"{path}: cannot be loaded as a Keras model ({reason})") from None
    for variable in model.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
            raise BundleError(f"{path}: {variable.path} holds a weight that is not finite")
    return model


class SavedModels:
    """SavedModels of networks, each written once; use it as a context manager.

    Writing one traces the network, which takes as long as converting it.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._written: list[tuple[Any, Path]] = []

    def __enter__(self) -> SavedModels:
        return self

    def __exit__(self, *raised: object) -> None:
        self._folder.cleanup()

    def of(self, model: Any) -> Path:
        """Return the folder of a model's SavedModel, with a fixed input signature."""
        for known, folder in self._written:
            if known is model:
                return folder
        folder = Path(self._folder.name) / str(len(self._written))
        signature = [tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="input")]
        with quiet():
            model.export(folder, verbose=False, input_signature=signature)
        self._written.append((model, folder))
        return folder


def to_tflite(
    model: Any,
    precision: str = "fp32",
    calibration: Iterable[NDArray[np.float32]] = (),
    allow_float: Sequence[str] = (),
    saved: SavedModels | None = None,
) -> bytes:
    """Convert a model with a dict of outputs.

    Args:
        model: float32 Keras model with one input.
        precision: "fp32"; "fp16", weights of half precision; "int8", input and outputs included; or
            "int16x8", weights of 8 bits and everything else of 16.
        calibration: (1, h, w, c) inputs, for the ranges of integers.
        allow_float: operations ("GREATER") that may work on floats in an integer form.
        saved: where its SavedModel may be already, or is kept for the next conversion.

    Raises:
        BundleError: TensorFlow cannot convert it, or what comes out lacks weights, or is not of
            integers throughout but for what is allowed.
    """
    if saved is None:
        with SavedModels() as own:
            return to_tflite(model, precision, calibration, allow_float, own)
    folder = saved.of(model)
    with quiet():
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
        if precision == "fp16":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        elif precision in _INTEGERS:
            samples = list(calibration)
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([sample] for sample in samples)
            operations, kind = _INTEGERS[precision]
            converter.target_spec.supported_ops = [operations]
            if allow_float:
                converter.target_spec.supported_ops += [tf.lite.OpsSet.TFLITE_BUILTINS]
            converter.inference_input_type = converter.inference_output_type = kind
        try:
            content: bytes = converter.convert()
        except Exception as wrong:  # the converter raises its own, unexported types
            reason = str(wrong).strip().splitlines()[0][:200]
            raise BundleError(f"{model.name}: TensorFlow cannot convert it ({reason})") from None
    check_operations(content, integer=precision in _INTEGERS, allow_float=allow_float)
    return content


def check_operations(content: bytes, *, integer: bool, allow_float: Sequence[str] = ()) -> None:
    """Refuse a converted network with something in it that does not belong there.

    Args:
        content: the `.tflite` file.
        integer: whether it shall compute in integers.
        allow_float: operations that may work on floats all the same.

    Raises:
        BundleError: it refers to variables, which means that its weights were lost; it has an
            operation outside of TensorFlow Lite's own; an operation works on floats that shall not.
            Names the first of them.
    """
    interpreter = _interpreter(content, plain=True)
    kinds: dict[int, str] = {}
    for tensor in interpreter.get_tensor_details():
        dtype = tensor["dtype"]
        kind = kinds[int(tensor["index"])] = np.dtype(dtype).name if dtype is not None else "void"
        if kind in ("object", "void"):
            raise BundleError(f"conversion lost weights: {tensor['name']} is a variable")
    ends = {"QUANTIZE", "DEQUANTIZE"}  # between integers and whatever works on floats
    floating: list[str] = []
    # There is no public way to list operations.
    for operation in interpreter._get_ops_details():
        name = str(operation["op_name"])
        if name == "CUSTOM" or name.startswith("Flex"):
            raise BundleError(f"{name} is not an operation of TensorFlow Lite's own")
        touched = (*operation["inputs"], *operation["outputs"])
        if any(kinds.get(int(k), "").startswith("float") for k in touched):
            floating.append(name)
    wrong = [name for name in floating if name not in {*allow_float, *ends}]
    wrong += [name for name in floating if name in ends and not allow_float]
    if integer and wrong:
        raise BundleError(
            f"not fully quantised: {wrong[0]} works on floats; allow it by name with "
            f"--allow-float {wrong[0]}, or leave it out of the network"
        )


def describe_variant(
    content: bytes, file: str, precision: str, roles: Sequence[str] = ()
) -> Variant:
    """Return the manifest entry of a converted network; outputs go by their signature names.

    Args:
        content, file, precision: of the network.
        roles: names that the signature must have.

    Raises:
        BundleError: a role has no output.
    """
    interpreter = _interpreter(content)
    signature = interpreter.get_signature_runner()
    outputs = interpreter.get_output_details()
    place = {details["index"]: position for position, details in enumerate(outputs)}
    missing = set(roles) - signature.get_output_details().keys()
    if missing:
        raise BundleError(f"{file}: has no output {min(missing)!r}")
    return Variant(
        file=file,
        target="tflite",
        precision=precision,
        input=describe(interpreter.get_input_details()[0]),
        outputs={
            role: OutputEntry(index=place[details["index"]], tensor=describe(details))
            for role, details in signature.get_output_details().items()
        },
    )


def largest_gap(model: Any, engine: Backend, samples: Sequence[NDArray[np.float32]]) -> float:
    """Return the largest difference between Keras and an fp32 network over some inputs."""
    worst = 0.0
    for sample in samples:
        expected = model.predict_on_batch(sample)
        for role, values in engine.infer(sample).items():
            worst = max(worst, float(np.abs(np.asarray(expected[role]) - values).max()))
    return worst


def _interpreter(content: bytes, *, plain: bool = False) -> Any:
    """Return an interpreter; a plain one has no XNNPACK, so that its operations are the file's."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if plain else OpResolverType.AUTO
    interpreter = Interpreter(
        model_content=content, num_threads=1, experimental_op_resolver_type=kind
    )
    interpreter.allocate_tensors()
    return interpreter


@contextlib.contextmanager
def quiet() -> Any:
    """Keep TensorFlow's export and conversion chatter off the terminal."""
    logging.getLogger("absl").setLevel(logging.ERROR)
    tf.get_logger().setLevel("ERROR")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
